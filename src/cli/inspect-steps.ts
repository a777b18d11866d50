import { resolve } from "node:path";
import type { Bundle, Step, Template, Wasm } from "../document/mod.ts";
import { describe, type Description, type Engine } from "../engine/mod.ts";
import { Failure, toFailure, type FailureRecord, type Place } from "../errors/mod.ts";
import { ceilings, resolveLimits, type Limits } from "../limits/mod.ts";
import type { AskedHost } from "../network/mod.ts";
import { strongest, type Trust } from "../runner/mod.ts";
import { bytes } from "./format.ts";
import type { Operator } from "./operator.ts";

/** What a document hands to a module. */
interface Grants {
  readonly reads: readonly { readonly artifact: string; readonly path: string }[];
  readonly writes: readonly { readonly output: string; readonly path: string }[];
  readonly arguments: readonly string[];
  readonly environment: readonly string[];
  readonly stdin: boolean;
  /** Hosts that it asks for, in the short form; the operator must allow them as well. */
  readonly hosts: readonly string[];
  /** `NAME/KEY` of secrets, of which it gets placeholders. */
  readonly secrets: readonly string[];
  readonly trust: Trust;
  /** What holds for it, in bytes, milliseconds or pieces; absent when it is known only when the step runs. */
  readonly limits?: Readonly<Record<string, number>>;
}

/** One template that runs something, beside what it runs. */
export interface InspectedStep {
  /** Name of the template; `LIBRARY/NAME` for one of a library, `…/STEP` for one written inside a step. */
  readonly template: string;
  readonly place?: Place;
  /** As it is written. */
  readonly source: string;
  readonly kind: "wasm" | "container";
  readonly grants?: Grants;
  /** Absent when there is no such module, or it is known only when the step runs. */
  readonly module?: Description;
  readonly missing?: FailureRecord;
  /** Granted, and the module has no import to use it with. */
  readonly unused: readonly string[];
  /** The module could ask for it, and is refused or finds nothing. */
  readonly denied: readonly string[];
}

interface Given {
  readonly bundle: Bundle;
  readonly engine: Engine;
  /** Module files that stand for images, by reference. */
  readonly overrides: ReadonlyMap<string, string>;
  /** The module file of any other image. */
  readonly moduleOf: (image: string, pullPolicy: Wasm["imagePullPolicy"]) => Promise<string>;
  readonly operator: Operator;
  /** What the host allows. */
  readonly limits: Limits;
  /** The least class of every step. */
  readonly trust: Trust;
  readonly signal?: AbortSignal;
}

/** Every template of the files that runs a program, each once however often it is called. */
export async function inspectSteps(given: Given): Promise<readonly InspectedStep[]> {
  const { workflow, library, places } = given.bundle;
  const steps: InspectedStep[] = [];
  const visit = async (template: Omit<Template, "name">, name: string): Promise<void> => {
    const place = places[name];
    const said = { template: name, ...(place ? { place } : {}) };
    const wasm = template.wasm ?? template.plugin?.wasm;
    const container = template.container ?? template.script;
    if (wasm) steps.push({ ...said, ...(await inspectWasm(wasm, template, given)) });
    else if (container) {
      steps.push({
        ...said,
        kind: "container",
        source: container.image,
        unused: [],
        denied: [],
      });
    }
    for (const step of stepsOf(template)) {
      if (step.inline) await visit(step.inline, `${name}/${step.name}`);
    }
  };
  for (const template of workflow.spec.templates ?? []) await visit(template, template.name);
  for (const [key, { spec }] of Object.entries(library)) {
    const owner = key.slice(key.indexOf("/") + 1);
    for (const template of spec.templates ?? []) await visit(template, `${owner}/${template.name}`);
  }
  return steps;
}

function stepsOf(template: Omit<Template, "name">): readonly Step[] {
  return [...(template.steps ?? []).flat(), ...(template.dag?.tasks ?? [])];
}

async function inspectWasm(
  wasm: Wasm,
  template: Omit<Template, "name">,
  given: Given,
): Promise<Omit<InspectedStep, "template" | "place">> {
  const source = wasm.module ?? wasm.image ?? "";
  const written = grantsOf(wasm, template, given.trust);
  const known = { kind: "wasm" as const, source, grants: written };
  try {
    const fixed = !templated(wasm.limits);
    const limits = resolveLimits(fixed ? wasm.limits : {}, given.limits);
    const grants = fixed ? { ...written, limits: stepLimits(limits) } : written;
    const options = { limits, ...(given.signal ? { signal: given.signal } : {}) };
    const module = await describe(await pathOf(wasm, given), given.engine, options);
    const differing = differences(grants, { module, limits, operator: given.operator });
    return { ...known, grants, module, ...differing };
  } catch (thrown) {
    const failure = toFailure(thrown);
    if (failure.code === "aborted" || failure.code === "internal") throw failure;
    return { ...known, missing: failure.toJSON(), unused: [], denied: [] };
  }
}

/** The file that `run` would load. */
async function pathOf(
  { module, image = "", imagePullPolicy }: Wasm,
  { bundle, overrides, moduleOf }: Given,
): Promise<string> {
  const written = module ?? image;
  if (written.includes("{{")) {
    throw new Failure("module-not-found", `"${written}" is known only when the step runs`, {
      hint: "Write the module's name in full, so that it can be looked at before.",
    });
  }
  if (module !== undefined) return resolve(bundle.folder, module);
  return overrides.get(image) ?? (await moduleOf(image, imagePullPolicy));
}

function templated(value: object | undefined): boolean {
  return Object.values(value ?? {}).some((text) => String(text).includes("{{"));
}

function grantsOf(wasm: Wasm, template: Omit<Template, "name">, least: Trust): Grants {
  const { inputs, outputs } = template;
  const parameters = (outputs?.parameters ?? []).flatMap(({ name, valueFrom }) =>
    valueFrom?.path === undefined ? [] : [{ output: name, path: valueFrom.path }],
  );
  const artifacts = (outputs?.artifacts ?? []).flatMap(({ name, path }) =>
    path === undefined ? [] : [{ output: name, path }],
  );
  return {
    reads: (inputs?.artifacts ?? []).flatMap(({ name, path }) =>
      path === undefined ? [] : [{ artifact: name, path }],
    ),
    writes: [...parameters, ...artifacts],
    arguments: [...(wasm.command ?? []), ...(wasm.args ?? [])].map(String),
    environment: (wasm.env ?? []).map(({ name }) => name),
    stdin: wasm.stdin !== undefined,
    hosts: (wasm.permissions?.http?.allowedHosts ?? []).map(hostText),
    secrets: (wasm.env ?? []).flatMap(({ valueFrom }) => {
      const secret = valueFrom?.secretKeyRef;
      return secret ? [`${secret.name}/${secret.key}`] : [];
    }),
    trust: strongest(wasm.trust, least),
  };
}

/** By their names in YAML, those that a step may set. */
function stepLimits(limits: Limits): Readonly<Record<string, number>> {
  return Object.fromEntries(
    Object.entries(ceilings)
      .filter(([, { scope }]) => scope === "step")
      .map(([key, { field }]) => [key, limits[field]]),
  );
}

/** `[METHOD[,METHOD] ][SCHEME://]HOST[:PORT][/PATH]` */
function hostText(asked: AskedHost): string {
  if (typeof asked === "string") return asked;
  const { host, scheme, port, methods, pathPrefix = "" } = asked;
  const what = methods === undefined ? "" : `${methods.join(",")} `;
  const from = scheme === undefined ? "" : `${scheme}://`;
  return `${what}${from}${host}${port === undefined ? "" : `:${port}`}${pathPrefix}`;
}

function differences(
  grants: Grants,
  given: {
    readonly module: Description;
    readonly limits: Limits;
    readonly operator: Operator;
  },
): Pick<InspectedStep, "unused" | "denied"> {
  const { module, limits, operator } = given;
  const { memoryBytes } = limits;
  const could = new Set(module.capabilities.map(({ capability }) => capability));
  const unused: string[] = [];
  const denied: string[] = [];
  const names = (paths: readonly { readonly path: string }[]): string =>
    paths.map(({ path }) => path).join(", ");
  if (grants.environment.length > 0 && !could.has("environment")) {
    unused.push(`variables ${grants.environment.join(", ")}: it never looks at its environment`);
  }
  if (grants.arguments.length > 0 && !could.has("arguments")) {
    unused.push("arguments: it never looks at them");
  }
  if (grants.stdin && !could.has("stdin")) unused.push("stdin: it never reads it");
  if (grants.reads.length > 0 && !could.has("read-files")) {
    unused.push(`artifacts at ${names(grants.reads)}: it never opens a file`);
  }
  if (grants.writes.length > 0 && !could.has("write-files")) {
    unused.push(
      `outputs at ${names(grants.writes)}: it never opens a file, so they will be missing`,
    );
  }
  if (grants.hosts.length > 0 && !could.has("http")) {
    unused.push(`hosts ${grants.hosts.join(", ")}: it makes no HTTP requests`);
  }
  if (grants.secrets.length > 0 && !could.has("http")) {
    unused.push(`secrets ${grants.secrets.join(", ")}: it makes no HTTP requests to put them in`);
  }
  for (const { module: from, name, kind } of module.unknownImports.slice(0, 20)) {
    denied.push(`${kind} ${from}.${name}: not offered, so the module is refused`);
  }
  if (could.has("sockets")) denied.push("sockets: there are none, each call gets an errno");
  if (could.has("http") && grants.hosts.length === 0) {
    denied.push("HTTP: the step allows no host, so each request is denied");
  }
  if (grants.hosts.length > 0 && operator.permissions.allowedHosts.length === 0) {
    denied.push(`hosts ${grants.hosts.join(", ")}: the operator allows none`);
  }
  for (const secret of grants.secrets.filter((label) => !operator.secrets.has(label))) {
    denied.push(`secret ${secret}: the operator has not given it, so the step does not start`);
  }
  if (grants.trust === "pod") denied.push("trust pod: it needs a cluster, so the step is refused");
  if (grants.reads.length + grants.writes.length === 0 && could.has("read-files")) {
    denied.push("files: none are given, it finds an empty tree of its own");
  }
  const largest = Math.max(...module.memories.map(({ maximumBytes = 0 }) => maximumBytes));
  if (largest > memoryBytes && module.refusal === undefined) {
    denied.push(
      `memory up to the ${bytes(largest)} that it declares: growing fails above ${bytes(memoryBytes)}`,
    );
  }
  return { unused, denied };
}
