import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { readStep, type EnvironmentVariable, type StepTemplate } from "../../document/mod.ts";
import { Failure, toFailure } from "../../errors/mod.ts";
import { addressRules, proxiesFrom } from "../../network/mod.ts";
import { archiveKind, logArtifact, packingOf, type Place } from "../../places/mod.ts";
import type { Stores } from "../../stores/mod.ts";
import type { OutputArtifact, Task, TaskResult } from "../../task/mod.ts";
import type { NodeResult, Step, Template } from "../model.ts";
import type { Span } from "../../telemetry/mod.ts";
import { clock, ended } from "../tracing.ts";
import type { WorkflowFacts } from "./workflow.ts";
import { isRecord, recordOf, textOf, type KubeObject } from "../../kubernetes/mod.ts";
import type { WasmSteps, WasmStepsOptions } from "./mod.ts";
import { collectArtifacts, isCollected, type Collected, type CollectStrategy } from "./collect.ts";
import { StepPlaces } from "./places.ts";
import { failed, loopResult, messageOf, outputsOf } from "./result.ts";
import { Rooms, type Room } from "./rooms.ts";
import { Tenants, type Tenant } from "./tenants.ts";
import { Workflows } from "./workflows.ts";

const never = new AbortController().signal;

interface SentLog {
  readonly artifacts: readonly Readonly<Record<string, unknown>>[];
  readonly trouble?: Failure;
}
const noLog: SentLog = { artifacts: [] };

/** Executes templates with `plugin.wasm`. */
export async function createWasmSteps(options: WasmStepsOptions): Promise<WasmSteps> {
  // Nothing that a process before this one was about to bring or to send is of use.
  for (const name of ["rooms", "stores"]) {
    await rm(join(options.folder, name), { recursive: true, force: true });
    await mkdir(join(options.folder, name), { recursive: true, mode: 0o700 });
  }
  return new Steps(options);
}

class Steps implements WasmSteps {
  readonly #options: WasmStepsOptions;
  readonly #workflows: Workflows;
  readonly #tenants: Tenants;
  readonly #rooms: Rooms;
  #stores: Promise<Stores> | undefined;

  constructor(options: WasmStepsOptions) {
    this.#options = options;
    this.#workflows = new Workflows(options.reader, { traces: options.traces !== undefined });
    this.#tenants = new Tenants(options);
    this.#rooms = new Rooms(options, () => this.#openStores());
  }

  accepts({ plugin }: Template): boolean {
    return isRecord(plugin) && plugin["wasm"] !== undefined;
  }

  async execute(step: Step, { signal }: { readonly signal: AbortSignal }): Promise<NodeResult> {
    const { traces } = this.#options;
    const startMs = clock();
    let span: Span | undefined;
    const begin = (annotations: WorkflowFacts["annotations"]): Span | undefined => {
      span = traces?.begin(step, { annotations, startMs });
      span?.child("read workflow", { startMs }).end();
      return span;
    };
    let result: NodeResult;
    try {
      result = await this.#execute(step, signal, begin);
    } catch (thrown) {
      result = failed(toFailure(thrown));
    }
    if (span) ended(span, result);
    return result;
  }

  async #execute(
    step: Step,
    signal: AbortSignal,
    begin: (annotations: WorkflowFacts["annotations"]) => Span | undefined,
  ): Promise<NodeResult> {
    const { limits } = this.#options;
    const { template, problems } = readStep(step.template, { limits });
    if (!template) throw invalid(problems);
    checkTags(template);
    const facts = await this.#workflows.when(step.workflow, ({ settled }) => settled, signal);
    const span = begin(facts.annotations);
    const serviceAccount = facts.serviceAccount(step.template);
    const tenant = this.#tenants.of(step.workflow.namespace, serviceAccount);
    rememberPullSecrets(tenant.pullSecrets, facts.pullSecrets);
    const places = new StepPlaces(template, facts, step.nodeId);
    const task = traced(await this.#task(step, template, places, tenant), span);
    await using room = await this.#rooms.enter(`${step.workflow.uid}/${serviceAccount}`, tenant);
    const running = span?.child("run");
    const result = await room.runner.run(task, { signal });
    running?.end({ attributes: attributesOf(result) });
    const keepsLog = facts.archivesLogs(template);
    const sending = keepsLog ? span?.child("send log") : undefined;
    const log = keepsLog ? await this.#sendLog(result, { places, room, signal }) : noLog;
    sending?.end({ error: log.trouble?.message });
    const outputs = outputsOf(step.template, result, places);
    const artifacts = [...(outputs.artifacts ?? []), ...log.artifacts];
    if (isCollected(artifacts, facts)) await this.#options.onCollectable?.(step.workflow);
    const text = await this.#resultText(step, template, result, signal);
    const message = messageOf(result) ?? log.trouble?.message;
    return {
      phase: result.phase === "Succeeded" && log.trouble ? "Error" : result.phase,
      ...(message === undefined ? {} : { message }),
      outputs: {
        ...outputs,
        ...(artifacts.length === 0 ? {} : { artifacts }),
        ...(text === undefined ? {} : { result: text }),
      },
    };
  }

  async #task(
    { workflow, nodeId }: Step,
    template: StepTemplate,
    places: StepPlaces,
    tenant: Tenant,
  ): Promise<Task> {
    const { wasm, inputs, outputs } = template;
    if (wasm.image === undefined) {
      throw new Failure(
        "workflow-invalid",
        "A module file can only be run on the machine that has it",
        {
          hint: "Push it to a registry with `atalanta image push`, and name the image.",
        },
      );
    }
    const seconds = Number(template.activeDeadlineSeconds ?? 0);
    return {
      key: `${workflow.uid}/${nodeId}`,
      owner: workflow.namespace,
      program: {
        kind: "wasm",
        module: {
          image: wasm.image,
          ...(wasm.imagePullPolicy === undefined ? {} : { pullPolicy: wasm.imagePullPolicy }),
        },
        ...(wasm.command === undefined ? { afterEntrypoint: true } : {}),
        arguments: [...(wasm.command ?? []), ...(wasm.args ?? [])].map(String),
        limits: wasm.limits ?? {},
        ...(wasm.trust === undefined ? {} : { trust: wasm.trust }),
        ...(wasm.permissions?.http?.allowedHosts
          ? { allowedHosts: wasm.permissions.http.allowedHosts }
          : {}),
        ...(wasm.map ? { map: wasm.map } : {}),
      },
      environment: await environmentOf(wasm.env ?? [], tenant),
      ...(wasm.stdin === undefined ? {} : { stdin: wasm.stdin }),
      inputs: (inputs?.artifacts ?? []).map((artifact) => {
        const source = places.source(artifact);
        const { name, path = "", mode, recurseMode, archive, optional } = artifact;
        return {
          name,
          path,
          ...(source ? { source } : {}),
          ...(mode === undefined ? {} : { mode }),
          ...(recurseMode === undefined ? {} : { recurseMode }),
          ...(archive ? { archive: archiveKind(archive) } : {}),
          ...(optional === undefined ? {} : { optional }),
        };
      }),
      outputs: {
        parameters: (outputs?.parameters ?? []).flatMap(({ name, valueFrom }) =>
          valueFrom?.path === undefined
            ? []
            : [
                {
                  name,
                  path: valueFrom.path,
                  ...(valueFrom.default === undefined
                    ? {}
                    : { default: String(valueFrom.default) }),
                },
              ],
        ),
        artifacts: (outputs?.artifacts ?? []).map((artifact): OutputArtifact => ({
          name: artifact.name,
          path: artifact.path ?? "",
          optional: artifact.optional ?? false,
          store: { place: places.output(artifact) },
          ...(artifact.archive ? { archive: packingOf(artifact.archive) } : {}),
          ...(artifact.mode === undefined ? {} : { mode: artifact.mode }),
        })),
        result: true,
      },
      ...(seconds > 0 ? { timeoutMs: seconds * 1000 } : {}),
    };
  }

  async #sendLog(
    { log, phase }: TaskResult,
    {
      places,
      room,
      signal,
    }: { readonly places: StepPlaces; readonly room: Room; readonly signal: AbortSignal },
  ): Promise<SentLog> {
    if (!log) return noLog;
    try {
      const place: Place = places.log();
      await room.depot.send(place, log, { kind: "none", name: "main.log" }, { signal });
      return { artifacts: [{ name: logArtifact, ...places.told(place) }] };
    } catch (thrown) {
      const failure = toFailure(thrown);
      const message = `The log could not be kept: ${failure.message}`;
      return {
        artifacts: [],
        ...(phase === "Succeeded" ? { trouble: new Failure(failure.code, message) } : {}),
      };
    }
  }

  /** Argo reads the results of a loop's items as JSON, and its workflow fails when one of them is none. */
  async #resultText(
    step: Step,
    { name }: StepTemplate,
    { outputs: { result } }: TaskResult,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    if (result === undefined || isJson(result)) return result;
    const own = ownName(step);
    if (own !== undefined) return loopResult(result, own);
    const facts = await this.#workflows.when(
      step.workflow,
      async (it) => it.begun && ((await it.nodeName(step.nodeId)) ?? it.loops(name)) !== undefined,
      signal,
    );
    const known = await facts.nodeName(step.nodeId);
    if (known !== undefined) return loopResult(result, known);
    return facts.loops(name) ? JSON.stringify(result) : result;
  }

  async secret(step: Step, name: string, key: string): Promise<Uint8Array> {
    const facts = await this.#workflows.when(step.workflow, ({ settled }) => settled, never);
    const serviceAccount = facts.serviceAccount(step.template);
    return this.#tenants.of(step.workflow.namespace, serviceAccount).reader.secret(name, key);
  }

  async collect(
    workflow: KubeObject,
    strategies: readonly CollectStrategy[],
    signal: AbortSignal,
  ): Promise<Collected> {
    const { namespace = "" } = workflow.metadata;
    return collectArtifacts(workflow, strategies, {
      tenant: (serviceAccount) => this.#tenants.of(namespace, serviceAccount),
      stores: await this.#openStores(),
      signal,
    });
  }

  #openStores(): Promise<Stores> {
    this.#stores ??= (async () => {
      const { openStores } = await import("../../stores/mod.ts");
      const { storeAddresses, authorities = [], environment, folder } = this.#options;
      const reach = addressRules({ allowedAddresses: storeAddresses });
      return openStores({
        reach,
        // Nothing that a workflow names is the operator's.
        operatorReach: reach,
        ...(authorities.length === 0 ? {} : { authorities }),
        environment: Object.fromEntries(
          cloudVariables.map((name) => [name, environment[name]] as const),
        ),
        stagingFolder: join(folder, "stores"),
        proxyFor: proxiesFrom(environment),
      });
    })();
    return this.#stores;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rooms[Symbol.asyncDispose]();
    await this.#tenants[Symbol.asyncDispose]();
    await (await this.#stores?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }
}

/** Where clouds are. Who this process is there is in none of them, and is not for steps. */
const cloudVariables = ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_STS"] as const;

/** Each is asked for an image that wants a login, so it is the last ones that are remembered. */
const mostPullSecrets = 50;

function rememberPullSecrets(known: Set<string>, names: readonly string[]): void {
  for (const name of names.slice(0, mostPullSecrets)) {
    known.delete(name);
    known.add(name);
    const [oldest] = known;
    if (known.size > mostPullSecrets && oldest !== undefined) known.delete(oldest);
  }
}

/** The module may go on with the trace; what the step says itself goes before. */
function traced(task: Task, span: Span | undefined): Task {
  if (!span || task.environment.some(({ name }) => name === "TRACEPARENT")) return task;
  const variable = { name: "TRACEPARENT", value: span.traceparent };
  return { ...task, environment: [...task.environment, variable] };
}

/** Where the time of a run went. */
function attributesOf({
  timings,
  imageDigest,
  moduleDigest,
  usage,
  limitsReached = [],
}: TaskResult): Readonly<Record<string, string | number>> {
  const times = Object.entries(timings).map(([name, ms]) => [
    `atalanta.${name.replace(/Ms$/, "")}_ms`,
    Math.round(ms * 1000) / 1000,
  ]);
  return {
    ...Object.fromEntries(times),
    ...(imageDigest === undefined ? {} : { "oci.manifest.digest": imageDigest }),
    ...(moduleDigest === undefined ? {} : { "atalanta.module.digest": moduleDigest }),
    ...(usage
      ? { "atalanta.memory_bytes": usage.memoryBytes, "atalanta.cpu_ms": usage.cpuMs }
      : {}),
    ...(limitsReached.length === 0
      ? {}
      : { "atalanta.limits_reached": limitsReached.map(({ code }) => code).join(",") }),
  };
}

/** What a step says itself of who it is; a tag that nobody filled in says nothing. */
function ownName({ template }: Step): string | undefined {
  const name = textOf(recordOf(recordOf(template["plugin"])["wasm"])["node"]);
  return name?.includes("{{") ? undefined : name;
}

async function environmentOf(
  variables: readonly EnvironmentVariable[],
  tenant: Tenant,
): Promise<Task["environment"]> {
  const made: Task["environment"][number][] = [];
  for (const { name, value, valueFrom } of variables) {
    if (valueFrom?.secretKeyRef) {
      const found = await secretVariable(name, valueFrom.secretKeyRef, tenant);
      if (found) made.push(found);
    } else if (valueFrom?.configMapKeyRef) {
      const { name: map, key, optional = false } = valueFrom.configMapKeyRef;
      const found = (await tenant.reader.configMap(map))?.get(key);
      if (found !== undefined) made.push({ name, value: found });
      else if (!optional) {
        throw new Failure(
          "workflow-invalid",
          `The variable ${name} needs the key "${key}" of the ConfigMap "${map}", which is not there`,
          {
            hint: "Make it in the namespace of the workflow, or set optional: true.",
          },
        );
      }
    } else made.push({ name, value: String(value ?? "") });
  }
  return made;
}

/** A secret with this annotation never gets to the guest: its gate puts the value into requests to these hosts. */
const hostsAnnotation = "atalanta.dev/hosts";

async function secretVariable(
  variable: string,
  {
    name,
    key,
    optional = false,
  }: { readonly name: string; readonly key: string; readonly optional?: boolean },
  { reader, guarded }: Tenant,
): Promise<Task["environment"][number] | undefined> {
  const secret = await reader.secretData(name);
  const value = secret?.data.get(key);
  if (!value && optional) return undefined;
  if (!value) {
    // Says what is missing.
    await reader.secret(name, key);
    return undefined;
  }
  const hosts = secret?.annotations[hostsAnnotation];
  if (hosts === undefined) return { name: variable, value: Buffer.from(value).toString() };
  guarded.set(`${name}/${key}`, {
    hosts: hosts.split(/[\s,]+/).filter(Boolean),
    value: () => reader.secret(name, key),
  });
  return { name: variable, secret: { name, key } };
}

function invalid(problems: readonly Failure[]): Failure {
  const [first, ...others] = problems;
  if (!first) return new Failure("workflow-invalid", "The template has no plugin.wasm");
  const more = others.length === 0 ? "" : ` (and ${others.length} more mistakes)`;
  return new Failure(
    first.code,
    `${first.message}${more}`,
    first.hint === undefined ? {} : { hint: first.hint },
  );
}

/** Tags that Argo left as they were: it knows them for pods alone, or not at all. A module would take them for its arguments. */
const argoTag =
  /\{\{=|\{\{\s*(?:inputs|outputs|steps|tasks|workflow|pod|node|item|retries|lastRetry|cronworkflow)(?:\.[^{}]*)?\}\}/;

function checkTags({ wasm }: StepTemplate): void {
  const texts = [
    wasm.image,
    wasm.stdin,
    ...(wasm.command ?? []),
    ...(wasm.args ?? []),
    ...(wasm.env ?? []).map(({ value }) => value),
  ];
  for (const text of texts) {
    const [tag] = argoTag.exec(String(text ?? "")) ?? [];
    if (tag === undefined) continue;
    throw new Failure("workflow-invalid", `Nobody has filled in "${tag.slice(0, 80)}"`, {
      hint: tag.includes("pod.name")
        ? "{{pod.name}} is there for pods alone; use {{node.name}} or {{workflow.name}}."
        : "Check the name: Argo leaves a tag as it is when it knows nothing by that name.",
    });
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
