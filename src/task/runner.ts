import type { ArtifactStore, StoredArtifact } from "../artifacts/mod.ts";
import type { Collected, Mount, Result } from "../engine/mod.ts";
import { Failure, toFailure } from "../errors/mod.ts";
import {
  ceilings,
  formatLimit,
  hostLimits,
  reachedLimit,
  resolveLimits,
  type LimitKey,
  type Limits,
} from "../limits/mod.ts";
import { strongest, type Runners, type Trust } from "../runner/mod.ts";
import { createGate, type Gate, type Passage } from "../network/mod.ts";
import { makeReady, type ModuleSources } from "./program.ts";
import { checkedPath, depotOf, inputContent, transferred, type Sources } from "./inputs.ts";
import { itemsOf, runMap, type MapOptions, type Mapped } from "./map.ts";
import { parameterBytes, sendLog, takeOutputs } from "./outputs.ts";
import { createLog, type Log } from "./log.ts";
import type {
  ContainerProgram,
  ContainerRunner,
  Depot,
  MapProgram,
  RunTaskOptions,
  Task,
  TaskResult,
  TaskRunner,
  Usage,
  WasmProgram,
} from "./mod.ts";

export interface TaskRunnerOptions extends ModuleSources {
  readonly runners: Runners;
  /** The class of every program that asks for none, and of those that ask for a weaker one; default `thread`. */
  readonly trust?: Trust;
  readonly artifacts: ArtifactStore;
  /** Runs container programs; absent: they end with the failure `container-runtime`. */
  readonly containers?: ContainerRunner;
  /** The way to stores outside; absent: no artifact comes from there or goes there. */
  readonly depot?: Depot;
  /** The way to hosts; absent: no program gets to one, and none gets a secret. */
  readonly gate?: Gate;
  /** The highest limits that a program may ask for; absent: those that this machinery is built for. */
  readonly limits?: Limits;
}

/** Makes a runner that turns inputs into an invocation and a result into outputs. */
export function createTaskRunner(options: TaskRunnerOptions): TaskRunner {
  return new Runner(options);
}

/** How a program ended, whatever ran it. */
interface Ended extends Pick<
  TaskResult,
  "phase" | "message" | "exitCode" | "stack" | "failure" | "usage" | "moduleDigest" | "imageDigest"
> {
  /** Absent: it has no result. */
  readonly stdout: Uint8Array | undefined;
  readonly collected: readonly Collected[];
  readonly limitsReached: readonly LimitKey[];
}

/** A guest whose allocation fails just traps, and V8 does not tell that its memory could not grow. */
const nearlyFull = 0.75;
const logLines = ["logLines"] as const;

type Input = { readonly path: string; readonly content: Mount["content"] };
type Timings = { -readonly [Name in keyof TaskResult["timings"]]: number };

class Runner implements TaskRunner {
  readonly #options: TaskRunnerOptions;
  readonly #hostLimits: Limits;
  constructor(options: TaskRunnerOptions) {
    this.#options = options;
    this.#hostLimits = options.limits ?? hostLimits();
  }

  async run(task: Task, options: RunTaskOptions = {}): Promise<TaskResult> {
    const timings: Timings = {
      queueMs: 0,
      pullMs: 0,
      compileMs: 0,
      instantiateMs: 0,
      runMs: 0,
      artifactsMs: 0,
    };
    let limits = resolveLimits({}, this.#hostLimits);
    const log = createLog({
      onOutput: options.onOutput,
      linesPerSecond: () => limits.logLines,
    });
    const observed: RunTaskOptions = { ...options, onOutput: log.write };
    try {
      const { program } = task;
      if (program.kind === "wasm") limits = resolveLimits(program.limits, this.#hostLimits);
      this.#checkStores(task);
      const collect = [...task.outputs.parameters, ...task.outputs.artifacts].map((output) =>
        checkedPath(output.path, output.name),
      );
      const ended = await (program.kind === "wasm"
        ? this.#sandbox(task, program, { collect, limits, timings, options: observed })
        : this.#container(task, program, { collect, limits, timings, options: observed }));
      const { stdout, collected, limitsReached, ...how } = ended;
      const storing = performance.now();
      try {
        const stored = await this.#keepLog(log);
        const sources = this.#sources(options);
        const taken = await takeOutputs(task, { stdout, collected }, sources);
        const { outputs, problem } = await withLog(task, stored, sources, taken);
        timings.artifactsMs += performance.now() - storing;
        const tail = how.phase === "Succeeded" ? "" : log.stderrTail();
        return {
          ...how,
          ...(problem && how.phase === "Succeeded" ? asError(problem) : {}),
          outputs,
          ...(stored ? { log: stored } : {}),
          ...(tail ? { stderrTail: tail } : {}),
          ...reached([...limitsReached, ...(log.linesLeftOut > 0 ? logLines : [])], limits),
          timings,
        };
      } finally {
        await this.#options.artifacts.discard(collected);
      }
    } catch (thrown) {
      const failure = toFailure(thrown);
      const tail = log.stderrTail();
      const stored = await this.#keepLog(log).catch(() => undefined);
      return {
        ...asError(failure),
        // A program that ran too long is the program's fault, whatever ran it.
        ...(failure.code === "limit-time" ? { phase: "Failed" } : {}),
        outputs: { parameters: [], artifacts: [] },
        ...(stored ? { log: stored } : {}),
        ...(tail ? { stderrTail: tail } : {}),
        timings,
      };
    }
  }

  #sources({ signal, onTransfer }: RunTaskOptions): Sources {
    const { artifacts, depot } = this.#options;
    return { store: artifacts, depot, signal, onTransfer };
  }

  /** What cannot be sent in the end is better not computed. */
  #checkStores({ outputs }: Task): void {
    for (const { store } of outputs.artifacts) {
      if (store) depotOf(this.#options).check(store.place);
    }
    if (outputs.log) depotOf(this.#options).check(outputs.log.place);
  }

  async #keepLog(log: Log): Promise<StoredArtifact | undefined> {
    return log.size === 0 ? undefined : this.#options.artifacts.putBytes(log.bytes());
  }

  async #sandbox(task: Task, program: WasmProgram, run: Running): Promise<Ended> {
    const { runners, trust } = this.#options;
    const engine = runners.engine({
      trust: strongest(trust, program.trust),
      owner: task.owner ?? localOwner,
    });
    const { timings, collect } = run;
    const timeMs = Math.min(run.limits.timeMs, task.timeoutMs ?? run.limits.timeMs);
    const limits = { ...run.limits, timeMs };
    const name = "image" in program.module ? program.module.image : "";
    using ready = await transferred(name, "from", run.options, ({ signal, onProgress }) =>
      makeReady(program, { ...this.#options, engine, limits, signal, onProgress }),
    );
    timings.pullMs = ready.pullMs;
    timings.compileMs = ready.compileMs;
    const inputs = await this.#inputs(task, run);
    const items = program.map && (await this.#items(task, program.map, inputs));
    using passage = await this.#passage(task, program, forItems(limits, items));
    const given = [...ready.environment, ...environment(task), ...(passage?.environment ?? [])];
    const mounts = [
      ...ready.mounts.map((mount) => uncovered(mount, inputs)),
      ...parents(collect),
      ...inputs.map((input) => ({ ...input, readOnly: false })),
    ];
    const http = passage && program.allowedHosts ? { http: passage.http } : {};
    const requests = (): Pick<Usage, "http"> =>
      passage && passage.usage.length > 0 ? { http: passage.usage } : {};
    const found = {
      moduleDigest: ready.module.digest,
      ...(ready.imageDigest === undefined ? {} : { imageDigest: ready.imageDigest }),
    };
    if (program.map && items) {
      const mapped = await this.#map(task, { map: program.map, items }, run, (fill, own) =>
        engine.run(
          ready.module,
          {
            arguments: ready.arguments.map(fill),
            environment: new Map([
              ...given.map(([key, text]) => [key, fill(text)] as const),
              ...own.environment,
            ]),
            mounts,
            collect: [],
            limits: own.limits,
            ...(task.stdin === undefined ? {} : { stdin: Buffer.from(fill(task.stdin)) }),
          },
          { signal: own.signal, onOutput: own.onOutput, ...http },
        ),
      );
      return { ...mapped, usage: { ...mapped.usage, ...requests() }, ...found };
    }
    const result = await engine.run(
      ready.module,
      {
        arguments: ready.arguments,
        environment: new Map(given),
        mounts,
        collect,
        limits,
        ...stdin(task),
      },
      { ...run.options, ...http },
    );
    timings.instantiateMs = result.usage.instantiateMs;
    timings.runMs = result.usage.runMs;
    const { stdout, collected, limitsReached } = result;
    return {
      ...explained(withLimits(end(result), result, limits), passage),
      stdout,
      collected,
      limitsReached,
      usage: { ...usageOf(result), ...requests() },
      ...found,
    };
  }

  #items(task: Task, map: MapProgram, inputs: readonly Input[]): Promise<readonly unknown[]> {
    checkMap(task, map);
    return itemsOf(map, (name) => {
      const path = task.inputs.find((input) => input.name === name)?.path;
      return inputs.find((input) => input.path === path)?.content;
    });
  }

  /** One run for each item; what they leave is the list of their results. */
  async #map(
    task: Task,
    { map, items }: { readonly map: MapProgram; readonly items: readonly unknown[] },
    { limits, timings, options }: Running,
    invoke: MapOptions["invoke"],
  ): Promise<Ended & { readonly usage: Usage }> {
    const begun = performance.now();
    const mapped = await runMap(map, items, {
      invoke,
      limits,
      timeoutMs: task.timeoutMs,
      signal: options.signal,
      write: (stream, bytes) => options.onOutput?.(stream, bytes),
    });
    const { list, lines, count, failures, usage, limitsReached } = mapped;
    timings.instantiateMs = usage.instantiateMs;
    timings.runMs = performance.now() - begun;
    const results = task.outputs.artifacts.find(({ name }) => name === map.results);
    const isLong = list.length > parameterBytes && results !== undefined;
    return {
      ...endOfMap(mapped, limits),
      stdout: isLong ? undefined : list,
      collected: results
        ? [
            {
              path: results.path,
              kind: "file",
              mode: 0o644,
              content: { kind: "bytes", bytes: lines },
            },
          ]
        : [],
      limitsReached,
      usage: { ...usageOf({ usage }), wallMs: timings.runMs, items: { count, failed: failures } },
    };
  }

  /** Nothing for a program that asks for no host and no secret. */
  async #passage(task: Task, program: WasmProgram, limits: Limits): Promise<Passage | undefined> {
    const secrets = task.environment.flatMap((variable) =>
      "secret" in variable ? [{ variable: variable.name, ...variable.secret }] : [],
    );
    const { allowedHosts } = program;
    if (!allowedHosts && secrets.length === 0) return undefined;
    const gate = this.#options.gate ?? createGate({ permissions: { allowedHosts: [] } });
    return gate.open({ allowedHosts: allowedHosts ?? [], secrets, limits });
  }

  async #container(task: Task, program: ContainerProgram, run: Running): Promise<Ended> {
    const { containers } = this.#options;
    if (!containers) {
      throw new Failure(
        "container-runtime",
        `Cannot run the container "${program.image}": no container runtime is here`,
        { hint: "Install docker, podman or nerdctl, or build the step as a Wasm module." },
      );
    }
    const secret = task.environment.find((variable) => "secret" in variable);
    if (secret) {
      throw new Failure(
        "workflow-unsupported",
        `The variable ${secret.name} is a secret, and a container would get its value`,
        { hint: "Build the step as a Wasm module, or pass a value that is no secret." },
      );
    }
    const { kind: _kind, ...asked } = program;
    const inputs = await this.#inputs(task, run);
    const start = performance.now();
    const result = await containers.run(
      {
        ...asked,
        key: task.key,
        environment: environment(task),
        ...stdin(task),
        inputs,
        collect: run.collect,
        timeMs: task.timeoutMs ?? run.limits.timeMs,
      },
      run.options,
    );
    run.timings.pullMs = result.pullMs ?? 0;
    run.timings.runMs = performance.now() - start - run.timings.pullMs;
    return {
      ...exited(result.exitCode, result.reason),
      stdout: result.stdout,
      collected: result.collected,
      limitsReached: [],
    };
  }

  async #inputs(task: Task, run: Running): Promise<readonly Input[]> {
    const start = performance.now();
    const inputs: Input[] = [];
    for (const input of task.inputs) {
      const content = await inputContent(input, this.#sources(run.options));
      if (content) inputs.push({ path: checkedPath(input.path, input.name), content });
    }
    run.timings.artifactsMs += performance.now() - start;
    return inputs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#options.runners[Symbol.asyncDispose]();
  }
}

type Taken = Awaited<ReturnType<typeof takeOutputs>>;

async function withLog(
  task: Task,
  log: StoredArtifact | undefined,
  sources: Sources,
  taken: Taken,
): Promise<Taken> {
  if (!log || !task.outputs.log) return taken;
  try {
    const sent = await sendLog(task, log, sources);
    const { outputs, problem } = taken;
    if (!sent) return taken;
    return { outputs: { ...outputs, artifacts: [...outputs.artifacts, sent] }, problem };
  } catch (thrown) {
    return { ...taken, problem: taken.problem ?? toFailure(thrown) };
  }
}

/** Whose tasks are that name nobody: the one user of this machine's. */
const localOwner = "local";

interface Running {
  readonly collect: readonly string[];
  readonly limits: Limits;
  readonly timings: Timings;
  readonly options: RunTaskOptions;
}

type End = Pick<TaskResult, "phase" | "message" | "exitCode" | "stack" | "failure">;

function end(result: Result): End {
  if (result.kind === "exited") return exited(result.exitCode);
  if (result.kind === "trapped") {
    const place = result.stack[0] === undefined ? "" : ` in ${result.stack[0]}`;
    return { phase: "Failed", message: `Trap: ${result.message}${place}`, stack: result.stack };
  }
  const phase = result.kind === "stopped" && result.failure.code !== "aborted" ? "Failed" : "Error";
  return { phase, message: result.failure.message, failure: result.failure };
}

/** The requests of all items go through one gate. */
function forItems(limits: Limits, items: readonly unknown[] | undefined): Limits {
  if (!items) return limits;
  const { httpRequests, httpBytes } = limits;
  const all = (one: number): number =>
    Math.min(Number.MAX_SAFE_INTEGER, one * Math.max(1, items.length));
  return { ...limits, httpRequests: all(httpRequests), httpBytes: all(httpBytes) };
}

/** What an engine counted, as a task tells it. */
function usageOf({ usage }: Pick<Result, "usage">): Usage {
  const { cpuMs, runMs, memoryBytes, filesCreated, filesBytesWritten } = usage;
  return { cpuMs, wallMs: runMs, memoryBytes, filesCreated, filesBytesWritten };
}

function endOfMap({ end: last, count, failures }: Mapped, limits: Limits): End {
  if (!last?.failed) return { phase: "Succeeded", exitCode: 0 };
  const { failed, index } = last;
  const own: End =
    failed instanceof Failure
      ? { ...asError(failed), ...(failed.code === "limit-time" ? { phase: "Failed" } : {}) }
      : withLimits(end(failed), failed, limits);
  const so = failures === 1 ? "" : `, and ${failures - 1} before it`;
  return { ...own, message: `Item ${index} of ${count} failed${so}: ${own.message ?? own.phase}` };
}

/** A map leaves one list; the files of its items would have one path for all. */
function checkMap({ outputs }: Task, { results }: MapProgram): void {
  const [parameter] = outputs.parameters;
  const artifact = outputs.artifacts.find(({ name }) => name !== results);
  const other = parameter ?? artifact;
  if (other) {
    throw new Failure(
      "workflow-unsupported",
      `The output "${other.name}" has one path, and a map has many items that would write to it`,
      { hint: "Read outputs.result, or name one output artifact as map.results." },
    );
  }
  if (results === undefined || outputs.artifacts.length > 0) return;
  throw new Failure(
    "workflow-invalid",
    `map.results names "${results}", and there is no such output artifact`,
    {
      hint: "Add it to outputs.artifacts, with a path.",
    },
  );
}

/** A program that failed after its requests did rarely says why. */
function explained(ended: End, passage: Passage | undefined): End {
  const [why] = passage?.refusals ?? [];
  if (ended.phase === "Succeeded" || why === undefined) return ended;
  return { ...ended, message: `${ended.message ?? ""}; its HTTP request failed: ${why}` };
}

/** A program that ended for an error that a ceiling caused says "No space left on device", and not which key to raise. */
function withLimits(ended: End, result: Result, limits: Limits): End {
  if (ended.phase === "Succeeded" || ended.failure) return ended;
  const { memoryBytes } = result.usage;
  const reasons = result.limitsReached.map(
    (key) => `it had reached limits.${key} of ${formatLimit(key, limits[ceilings[key].field])}`,
  );
  if (memoryBytes >= limits.memoryBytes * nearlyFull) {
    const full = formatLimit("memory", limits.memoryBytes);
    reasons.push(
      `its memory stood at ${formatLimit("memory", memoryBytes)} of limits.memory ${full}`,
    );
  }
  if (reasons.length === 0) return ended;
  return { ...ended, message: `${ended.message ?? ended.phase}; ${reasons.join("; ")}` };
}

function reached(keys: readonly LimitKey[], limits: Limits): Pick<TaskResult, "limitsReached"> {
  return keys.length === 0 ? {} : { limitsReached: keys.map((key) => reachedLimit(key, limits)) };
}

function exited(exitCode: number, reason = "Error"): End {
  if (exitCode === 0) return { phase: "Succeeded", exitCode };
  return { phase: "Failed", message: `${reason} (exit code ${exitCode})`, exitCode };
}

function asError(failure: Failure): Pick<TaskResult, "phase" | "message" | "failure"> {
  // What the program did to run into its ceiling is its own fault, whatever ran it.
  const own = failure.code === "limit-time" || failure.code === "limit-output";
  return {
    phase: own ? "Failed" : "Error",
    message: failure.message,
    failure: failure.toJSON(),
  };
}

function environment(task: Task): ReadonlyMap<string, string> {
  return new Map(
    task.environment.flatMap((variable) =>
      "value" in variable ? [[variable.name, variable.value] as const] : [],
    ),
  );
}

function stdin(task: Task): { readonly stdin?: Uint8Array } {
  return task.stdin === undefined ? {} : { stdin: Buffer.from(task.stdin) };
}

/** A folder that is laid over one of the image's hides what the image has there, as a volume does in a pod. */
function uncovered(image: Mount, inputs: readonly Input[]): Mount {
  if (image.content.kind === "file") return image;
  const covered = inputs
    .filter(({ content }) => content.kind === "directory")
    .map(({ path }) => `${path.split("/").filter(Boolean).join("/")}/`);
  if (covered.length === 0) return image;
  const entries = image.content.entries.filter(
    ({ path }) => !covered.some((folder) => path.startsWith(folder)),
  );
  return { ...image, content: { kind: "directory", entries } };
}

/** The folders that outputs are written to are there, as they are in a pod. */
function parents(paths: readonly string[]): Mount[] {
  const folders = new Set([
    "/tmp",
    ...paths.map((path) => path.slice(0, Math.max(1, path.lastIndexOf("/")))),
  ]);
  return [...folders].map((path) => ({
    path,
    readOnly: false,
    content: { kind: "directory", entries: [] },
  }));
}
