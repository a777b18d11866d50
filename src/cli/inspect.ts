import { open } from "node:fs/promises";
import type { Command } from "commander";
import { describe, type Description, type Engine } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import { resolveLimits } from "../limits/mod.ts";
import type { Images } from "../oci/mod.ts";
import { createRunners, parseTrust, strongest, type Trust } from "../runner/mod.ts";
import { trustHelp } from "./carry.ts";
import { readConfiguration, readOperatorFile } from "./configuration.ts";
import { isImage, openUserImages } from "./images.ts";
import { compareModules, compareSteps, type Difference } from "./inspect-diff.ts";
import { inspectSteps, type InspectedStep } from "./inspect-steps.ts";
import { differenceLines, moduleLines, stepLines } from "./inspect-text.ts";
import { escaped } from "./text.ts";
import { interrupted } from "./interrupt.ts";
import { limitsOfHost, readHostLimits } from "./limits.ts";
import { collect, configHelp, limitHelp, pair } from "./options.ts";
import { readWorkflow } from "./read.ts";
import { paintFor } from "./style.ts";

interface Options {
  readonly diff: readonly string[];
  readonly image: readonly string[];
  readonly config?: string;
  readonly trust?: string;
  readonly limit: readonly string[];
  readonly workflow?: string;
  readonly json?: boolean;
}

/** `atalanta inspect MODULE|FILE…` */
export function addInspect(program: Command): void {
  program
    .command("inspect")
    .description("Show what a module could do, and what a workflow lets it do; nothing is run")
    .argument(
      "<file...>",
      "a .wasm module, an image, or a workflow and files with what it refers to",
    )
    .option(
      "--diff <old>",
      "say what the file can do more and less than this older one (repeatable, for several files)",
      collect,
      [],
    )
    .option("--image <reference=file>", "module file of an image (repeatable)", collect, [])
    .option("--config <file>", configHelp)
    .option("--trust <class>", trustHelp)
    .option("--limit <key=value>", limitHelp, collect, [])
    .option("--workflow <name>", "which workflow or template, when the files hold several")
    .option("--json", "one line of JSON")
    .addHelpText(
      "after",
      `
An import is a possibility: what a module really may do is what it could do and what the workflow grants.

Examples:
  atalanta inspect test/guests/hello/hello.wasm
  atalanta inspect ghcr.io/acme/split-pages:1.2
  atalanta inspect examples/words/workflow.yaml
  atalanta inspect test/guests/hello/hello.wasm --diff test/guests/probe/probe.wasm
  atalanta inspect examples/words/workflow.yaml --json

Exit codes: 0 all of it runs here, and with --diff nothing more than before; 1 something is refused or missing,
or can do more than before; 2 wrong input.`,
    )
    .action(async (files: readonly string[], options: Options) => {
      const json = options.json ?? false;
      const trust = options.trust === undefined ? undefined : parseTrust(options.trust, "--trust");
      // Compiling a stranger's module is a risk of its own: it is done in a process that holds nothing else.
      await using runners = createRunners({ threads: 1, spares: 0 });
      const engine = runners.engine({ trust: "process", owner: "inspect" });
      const now = await look(files, { ...options, json, engine, trust });
      if (!now) return;
      const before =
        options.diff.length === 0
          ? undefined
          : await look(options.diff, { ...options, json, engine, trust });
      if (options.diff.length > 0 && !before) return;
      const differences = before && compare(now, before);
      const lacks = trust === "process" || usesProcess(now) ? await runners.weaknesses() : [];
      print(now, { differences, lacks, json });
      if (refused(now) || differences?.some(({ more }) => more.length > 0)) process.exitCode = 1;
    });
}

type Look =
  | { readonly kind: "module"; readonly module: Description }
  | { readonly kind: "workflow"; readonly steps: readonly InspectedStep[] };

/** Nothing when the files are wrong, which has been said then. */
async function look(
  files: readonly string[],
  given: Omit<Options, "diff" | "trust"> & {
    readonly json: boolean;
    readonly engine: Engine;
    readonly trust: Trust | undefined;
  },
): Promise<Look | undefined> {
  const { engine, json, workflow } = given;
  const [first = "", ...more] = files;
  if (isImage(first) || (await isModule(first))) {
    if (more.length > 0) {
      throw new Failure("invalid-argument", `"${first}" is a module; one is looked at at a time`, {
        hint: "Give one module, or the files of one workflow.",
      });
    }
    const limits = resolveLimits({}, await readHostLimits(given));
    const options = { limits, signal: interrupted };
    if (!isImage(first)) return { kind: "module", module: await describe(first, engine, options) };
    await using images = await openUserImages(await readOperatorFile(given.config), { limits });
    using image = await images.get(first, { signal: interrupted });
    return { kind: "module", module: await describe(image.module.path, engine, options) };
  }
  const name = workflow === undefined ? {} : { name: workflow };
  const limits = await readHostLimits(given);
  const bundle = await readWorkflow(files, { json, limits, ...name });
  if (!bundle) return undefined;
  const { images, operator, trust } = await readConfiguration(bundle.folder, given.config);
  const named = given.image.map((text) => pair("--image", text));
  const hostLimits = limitsOfHost(given.limit, operator.limits);
  await using stack = new AsyncDisposableStack();
  let opened: Promise<Images> | undefined;
  const steps = await inspectSteps({
    bundle,
    engine,
    overrides: new Map([...images, ...named]),
    moduleOf: async (reference, pullPolicy) => {
      opened ??= openUserImages(operator, { limits: hostLimits }).then((found) => stack.use(found));
      const options = { signal: interrupted, ...(pullPolicy ? { pullPolicy } : {}) };
      return stack.use(await (await opened).get(reference, options)).module.path;
    },
    operator,
    limits: hostLimits,
    trust: strongest(trust, given.trust),
    signal: interrupted,
  });
  return { kind: "workflow", steps };
}

/** A name that says so is enough: a damaged module is told about, and not read as YAML. */
async function isModule(path: string): Promise<boolean> {
  if (path.endsWith(".wasm")) return true;
  if (path === "-") return false;
  let file;
  try {
    file = await open(path);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.toString("latin1") === "\0asm";
  } catch {
    // Who reads it as a workflow says why it cannot be read.
    return false;
  } finally {
    await file?.close();
  }
}

function compare(now: Look, before: Look): readonly Difference[] {
  if (now.kind === "module" && before.kind === "module") {
    const found = compareModules(now.module, before.module);
    return found.more.length + found.less.length + found.changed.length > 0 ? [found] : [];
  }
  if (now.kind === "workflow" && before.kind === "workflow") {
    return compareSteps(now.steps, before.steps);
  }
  throw new Failure("invalid-argument", `A ${now.kind} cannot be compared with a ${before.kind}`, {
    hint: "Give two modules, or two workflows.",
  });
}

function refused(look: Look): boolean {
  if (look.kind === "module") return look.module.refusal !== undefined;
  return look.steps.some(({ missing, module }) => missing ?? module?.refusal);
}

function usesProcess(look: Look): boolean {
  return look.kind === "workflow" && look.steps.some(({ grants }) => grants?.trust === "process");
}

function print(
  now: Look,
  more: {
    readonly differences: readonly Difference[] | undefined;
    /** What the class `process` lacks on this machine. */
    readonly lacks: readonly string[];
    readonly json: boolean;
  },
): void {
  const { differences, lacks, json } = more;
  if (json) {
    const without = lacks.length === 0 ? {} : { processLacks: lacks };
    const said = { ...now, ...(differences ? { differences } : {}), ...without };
    process.stdout.write(`${escaped(JSON.stringify(said))}\n`);
    return;
  }
  const paint = paintFor(process.stdout);
  const lines = differences
    ? [...differenceLines(differences, paint), ...refusals(now)]
    : now.kind === "module"
      ? moduleLines(now.module, paint)
      : now.steps.flatMap((step, at) => [...(at > 0 ? [""] : []), ...stepLines(step, paint)]);
  if (lacks.length > 0) lines.push("", `trust process lacks on this machine: ${lacks.join(", ")}`);
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** What does not run here is said beside a difference, too: it is why the exit code is 1. */
function refusals(now: Look): string[] {
  const modules =
    now.kind === "module"
      ? [{ name: now.module.name, failure: now.module.refusal }]
      : now.steps.map(({ template, missing, module }) => ({
          name: template,
          failure: missing ?? module?.refusal,
        }));
  return modules.flatMap(({ name, failure }) =>
    failure ? [`${name} does not run here: ${failure.message}`] : [],
  );
}
