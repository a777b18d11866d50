// A stand-in for Argo's workflow controller: our planner decides what runs, and everything between it and an agent goes as Argo has it: the templates of what is due in a task
// set, results consumed one operation later, everything looked at again only after the requeue time. Containers' results come from a table of the test.
import { setTimeout as sleep } from "node:timers/promises";
import { parseRepository, readBundle } from "../../src/document/mod.ts";
import {
  recordOf,
  listOf,
  textOf,
  type Cluster,
  type Follower,
  type Kind,
  type KubeObject,
} from "../../src/kubernetes/mod.ts";
import { keyOf, withKey, type Place } from "../../src/places/mod.ts";
import type { ArtifactSource, TaskResult } from "../../src/task/mod.ts";
import {
  createPlanner,
  type Effect,
  type Planner,
  type Work,
} from "../../src/workflow/plan/mod.ts";

export const workflows: Kind = {
  group: "argoproj.io",
  version: "v1alpha1",
  plural: "workflows",
  namespaced: true,
};
export const taskSets: Kind = { ...workflows, plural: "workflowtasksets" };
const completedLabel = "workflows.argoproj.io/completed";

type Json = Readonly<Record<string, unknown>>;

export interface ControllerOptions {
  readonly cluster: Cluster;
  /** `DEFAULT_REQUEUE_TIME`; default 20 ms. */
  readonly requeueMs?: number;
  readonly namespace?: string;
  /** The artifact repository of every workflow, in Argo's form. */
  readonly repository?: Json;
  /** What a container step came to. */
  readonly container?: (
    work: Work,
    inputs: ReadonlyMap<string, Place>,
  ) => Promise<Partial<TaskResult>> | Partial<TaskResult>;
  /** May not change the status of task sets, as with the roles of all releases: results stay where they are. */
  readonly mayNotClean?: () => boolean;
  readonly onError?: (thrown: unknown) => void;
}

interface Run {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly planner: Planner;
  readonly place: Place | undefined;
  /** Tasks in the task set, by node. */
  readonly pending: Map<string, Json>;
  readonly works: Map<string, Work>;
  /** Read from the task set, and not yet gone on with. */
  readonly fulfilled: Map<string, TaskResult>;
  /** To be taken out of the task set. */
  readonly spent: Set<string>;
  readonly podsDone: Map<string, TaskResult>;
  /** Of plugin nodes, as their results have them. */
  readonly outputs: Map<string, Json>;
  created: boolean;
  finished: boolean;
  operating: boolean;
  readyAt: number | undefined;
  timer: NodeJS.Timeout | undefined;
  version: string | undefined;
  error: string | undefined;
  shutdown: "Stop" | "Terminate" | undefined;
}

export class StandInController implements AsyncDisposable {
  readonly #options: ControllerOptions;
  readonly #runs = new Map<string, Run>();
  readonly #stop = new AbortController();
  readonly #taskSets = new Map<string, KubeObject>();
  #followers: Follower<KubeObject>[] = [];
  operations = 0;

  constructor(options: ControllerOptions) {
    this.#options = options;
  }

  static async start(options: ControllerOptions): Promise<StandInController> {
    const made = new StandInController(options);
    await made.#start();
    return made;
  }

  async #start(): Promise<void> {
    const { cluster, namespace } = this.#options;
    const where = namespace === undefined ? {} : { namespace };
    const keyed = ({ metadata }: KubeObject): string => `${metadata.namespace}/${metadata.name}`;
    this.#followers = [
      cluster.follow(workflows, {
        ...where,
        onChange: (now) => {
          if (!now) return;
          const run = this.#runs.get(keyed(now));
          if (run && run.uid === now.metadata.uid) {
            run.version = now.metadata.resourceVersion;
            this.#enqueue(run, this.#requeueMs, now);
          } else if (now.metadata.labels?.[completedLabel] !== "true") this.#begin(now);
        },
      }),
      cluster.follow(taskSets, {
        ...where,
        onChange: (now, before) => {
          const object = now ?? before;
          if (!object) return;
          const key = keyed(object);
          if (now) this.#taskSets.set(key, now);
          else this.#taskSets.delete(key);
          const run = this.#runs.get(key);
          if (run) this.#enqueue(run, this.#requeueMs);
        },
      }),
    ];
    await Promise.all(this.#followers.map(({ ready }) => ready));
  }

  get #requeueMs(): number {
    return this.#options.requeueMs ?? 20;
  }

  #begin(object: KubeObject): void {
    const { namespace = "", name = "", uid = "" } = object.metadata;
    const text = JSON.stringify({ ...object, metadata: { name, namespace }, status: undefined });
    const { bundle, problems } = readBundle([{ file: name, text }]);
    if (!bundle) {
      this.#options.onError?.(new Error(problems.map(({ message }) => message).join("; ")));
      return;
    }
    const { repository } = this.#options;
    const parsed = repository && parseRepository(JSON.stringify(repository), "repository");
    const planner = createPlanner({
      name,
      uid,
      namespace,
      bundle,
      parameters: {},
      artifacts: {},
      ...(parsed ? { repository: parsed } : {}),
    });
    const run: Run = {
      key: `${namespace}/${name}`,
      namespace,
      name,
      uid,
      planner,
      place: parsed?.place,
      pending: new Map(),
      works: new Map(),
      fulfilled: new Map(),
      spent: new Set(),
      outputs: new Map(),
      podsDone: new Map(),
      created: false,
      finished: false,
      operating: false,
      readyAt: undefined,
      timer: undefined,
      version: object.metadata.resourceVersion,
      error: undefined,
      shutdown: undefined,
    };
    this.#runs.set(run.key, run);
    this.#enqueue(run, 0);
  }

  /** A delaying queue: the earliest time counts. */
  #enqueue(run: Run, afterMs: number, object?: KubeObject): void {
    const shutdown = textOf(recordOf(object?.["spec"])["shutdown"]);
    if (shutdown === "Stop" || shutdown === "Terminate") run.shutdown = shutdown;
    if (run.finished) return;
    const at = performance.now() + afterMs;
    if (run.readyAt !== undefined && run.readyAt <= at) return;
    run.readyAt = at;
    clearTimeout(run.timer);
    run.timer = setTimeout(() => void this.#turn(run), afterMs);
  }

  async #turn(run: Run): Promise<void> {
    if (run.operating || this.#stop.signal.aborted) {
      // One worker has it; its own writes bring it back.
      run.readyAt = undefined;
      if (!this.#stop.signal.aborted) this.#enqueue(run, this.#requeueMs);
      return;
    }
    run.readyAt = undefined;
    run.operating = true;
    try {
      await this.#operate(run);
      this.operations += 1;
    } catch (thrown) {
      if (this.#stop.signal.aborted) return;
      this.#options.onError?.(thrown);
      this.#enqueue(run, this.#requeueMs);
    } finally {
      run.operating = false;
    }
  }

  async #operate(run: Run): Promise<void> {
    const { planner } = run;
    let dirty = false;
    const apply = (event: Parameters<Planner["apply"]>[0]): void => {
      dirty = true;
      for (const effect of planner.apply(event)) this.#effect(run, effect);
    };
    const now = (): number => Date.now();
    if (planner.state.startedAt === 0 || planner.state.nodes.size === 0)
      apply({ type: "begun", at: now() });
    const stopping = run.shutdown;
    if (stopping && planner.state.shutdown === undefined)
      apply({ type: "shutdown", at: now(), strategy: stopping });
    // Pods are looked at first, and what was read from the task set the last time is gone on with.
    for (const results of [run.podsDone, run.fulfilled]) {
      for (const [node, result] of results) {
        results.delete(node);
        apply({
          type: "ended",
          at: now(),
          node,
          attempt: run.works.get(node)?.attempt ?? 0,
          startedAt: now(),
          result,
        });
      }
    }
    for (const node of planner.state.nodes.values()) {
      if (run.pending.has(node.id) && node.finishedAt !== undefined) {
        run.pending.delete(node.id);
        run.spent.add(node.id);
      }
    }
    const done = run.error !== undefined || planner.state.finishedAt !== undefined;
    if (!done && !stopping) dirty = (await this.#reconcile(run)) || dirty;
    await this.#clean(run, done);
    if (dirty || done) await this.#update(run, done);
    // A result that was read changes the workflow, which brings it back, also when nothing else is written.
    if (run.fulfilled.size > 0) this.#enqueue(run, this.#requeueMs);
    if (done) {
      run.finished = true;
      clearTimeout(run.timer);
    }
  }

  /** Reads results, and hands out all tasks that have none. */
  async #reconcile(run: Run): Promise<boolean> {
    const { cluster } = this.#options;
    const seen = this.#taskSets.get(run.key);
    let read = false;
    const nodes = recordOf(recordOf(seen?.["status"])["nodes"]);
    const ours = seen?.metadata.ownerReferences?.some(({ uid }) => uid === run.uid) ?? false;
    for (const [id, result] of ours ? Object.entries(nodes) : []) {
      const work = run.works.get(id);
      // An unknown node ends it all, until somebody takes it away.
      if (!work) return read;
      const { phase } = recordOf(result);
      if (phase === "Pending" || phase === "Running" || !run.pending.has(id)) continue;
      run.fulfilled.set(id, this.#result(run, work, recordOf(result)));
      run.pending.delete(id);
      run.spent.add(id);
      read = true;
    }
    if (run.pending.size === 0) return read;
    const tasks = Object.fromEntries(run.pending);
    if (!run.created) {
      await cluster.create(taskSets, {
        apiVersion: "argoproj.io/v1alpha1",
        kind: "WorkflowTaskSet",
        metadata: {
          name: run.name,
          namespace: run.namespace,
          ownerReferences: [
            { apiVersion: "argoproj.io/v1alpha1", kind: "Workflow", name: run.name, uid: run.uid },
          ],
        },
        spec: { tasks },
      });
      run.created = true;
      return true;
    }
    await cluster.patch(taskSets, run.name, { spec: { tasks } }, { namespace: run.namespace });
    return read;
  }

  async #clean(run: Run, done: boolean): Promise<void> {
    const { cluster, mayNotClean } = this.#options;
    if (!run.created || (run.spent.size === 0 && !done)) return;
    const nulls = Object.fromEntries([...run.spent].map((id) => [id, null]));
    const where = { namespace: run.namespace };
    if (mayNotClean?.()) return;
    if (run.spent.size > 0)
      await cluster.patch(
        taskSets,
        run.name,
        { status: { nodes: nulls } },
        { ...where, subresource: "status" },
      );
    const labels = { [completedLabel]: String(done) };
    await cluster.patch(
      taskSets,
      run.name,
      { metadata: { labels }, spec: { tasks: nulls } },
      where,
    );
    run.spent.clear();
  }

  async #update(run: Run, done: boolean): Promise<void> {
    const { state } = run.planner;
    const nodes = Object.fromEntries(
      [...state.nodes.values()].map((node) => [
        node.id,
        {
          id: node.id,
          name: node.name,
          displayName: node.displayName,
          type: node.type,
          templateName: node.template,
          phase: node.phase,
          ...(node.message === undefined ? {} : { message: node.message }),
          ...outputsOf(run, node.id, node.outputs?.result),
        },
      ]),
    );
    const { repository } = this.#options;
    const phase = run.error !== undefined ? "Error" : state.phase;
    await this.#options.cluster.patch(
      workflows,
      run.name,
      {
        ...(done ? { metadata: { labels: { [completedLabel]: "true" } } } : {}),
        status: {
          phase,
          startedAt: new Date(state.startedAt).toISOString(),
          ...(done ? { finishedAt: new Date().toISOString() } : {}),
          ...((run.error ?? state.message) === undefined
            ? {}
            : { message: run.error ?? state.message }),
          nodes,
          ...(repository
            ? { artifactRepositoryRef: { default: true, artifactRepository: repository } }
            : {}),
        },
      },
      { namespace: run.namespace },
    );
  }

  #effect(run: Run, effect: Effect): void {
    if (effect.type === "wake") {
      const inMs = Math.max(0, effect.at - Date.now());
      setTimeout(() => {
        for (const next of run.planner.apply({ type: "woke", at: Date.now() }))
          this.#effect(run, next);
        this.#enqueue(run, 0);
      }, inMs).unref();
    }
    if (effect.type !== "start") return;
    const { work } = effect;
    run.works.set(work.node, work);
    if (work.kind === "container") void this.#pod(run, work);
    else run.pending.set(work.node, this.#template(run, work));
  }

  async #pod(run: Run, work: Work): Promise<void> {
    const inputs = new Map(
      work.inputs.flatMap(({ name, source }) => {
        const place = source && placeOf(source);
        return place ? [[name, place] as const] : [];
      }),
    );
    await sleep(20);
    const given = (await this.#options.container?.(work, inputs)) ?? {};
    run.podsDone.set(work.node, { ...nothing, ...given });
    this.#enqueue(run, this.#requeueMs);
  }

  /** What Argo would write into the task set: the whole template, filled in. */
  #template(run: Run, work: Work): Json {
    const node = run.planner.state.nodes.get(work.node);
    const { outputs } = work;
    const said = listOf(
      run.planner.state.begin.bundle.workflow.spec.templates?.find(
        ({ name }) => name === node?.template,
      )?.outputs?.artifacts,
    ).map(recordOf);
    return {
      name: node?.template ?? "",
      inputs: {
        parameters: node?.inputs?.parameters ?? [],
        artifacts: work.inputs.map(({ source, archive, ...rest }) => {
          const place = source && placeOf(source);
          return {
            ...rest,
            ...(archive ? { archive: { [archive]: {} } } : {}),
            ...(source?.kind === "raw" ? { raw: { data: source.data } } : {}),
            // A path within an artifact is put behind its key.
            ...(place?.s3
              ? { s3: { key: [place.s3.key, subPathOf(source)].filter(Boolean).join("/") } }
              : {}),
          };
        }),
      },
      outputs: {
        parameters: outputs.parameters.map(({ name, path, default: otherwise }) => ({
          name,
          valueFrom: { path, ...(otherwise === undefined ? {} : { default: otherwise }) },
        })),
        artifacts: said.map((artifact) => {
          if (!("s3" in artifact)) return artifact;
          // Everything is filled in, keys too.
          const { store } = outputs.artifacts.find(({ name }) => name === artifact["name"]) ?? {};
          return { ...artifact, s3: { ...recordOf(artifact["s3"]), key: store?.place.s3?.key } };
        }),
      },
      plugin: { wasm: work.program },
    };
  }

  #result(run: Run, work: Work, result: Json): TaskResult {
    const outputs = recordOf(result["outputs"]);
    run.outputs.set(work.node, outputs);
    const text = textOf(outputs["result"]);
    if (text !== undefined && /\(\d+:[^]*\)$/.test(work.nodeName) && !isJson(text)) {
      run.error = `error in entry template execution: invalid character '${text[0]}' looking for beginning of value`;
    }
    const message = textOf(result["message"]);
    const exitCode = textOf(outputs["exitCode"]);
    return {
      ...nothing,
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- whatever an agent writes is taken
      phase: result["phase"] as TaskResult["phase"],
      ...(message === undefined ? {} : { message }),
      ...(exitCode === undefined ? {} : { exitCode: Number(exitCode) }),
      outputs: {
        ...(text === undefined ? {} : { result: text }),
        parameters: listOf(outputs["parameters"]).map((item) => ({
          name: textOf(recordOf(item)["name"]) ?? "",
          value: String(recordOf(item)["value"]),
        })),
        artifacts: listOf(outputs["artifacts"]).map((item) =>
          artifactAt(recordOf(item), run.place),
        ),
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const run of this.#runs.values()) clearTimeout(run.timer);
    for (const follower of this.#followers) await follower[Symbol.asyncDispose]();
  }
}

const nothing: TaskResult = {
  phase: "Succeeded",
  outputs: { parameters: [], artifacts: [] },
  timings: { queueMs: 0, pullMs: 0, compileMs: 0, instantiateMs: 0, runMs: 0, artifactsMs: 0 },
};

/** Argo copies the outputs of a result into the node. */
function outputsOf(run: Run, id: string, result: string | undefined): Json {
  const outputs = run.outputs.get(id) ?? (result === undefined ? undefined : { result });
  return outputs ? { outputs } : {};
}

function placeOf(source: ArtifactSource): Place | undefined {
  if (source.kind === "store") return source.place;
  return source.kind === "stored" ? source.copy?.place : undefined;
}

function subPathOf(source: ArtifactSource | undefined): string | undefined {
  return source && "subPath" in source ? source.subPath : undefined;
}

/** An artifact of which only the key is known. */
export function artifactAt(
  item: Json,
  repository: Place | undefined,
): TaskResult["outputs"]["artifacts"][number] {
  const key = textOf(recordOf(item["s3"])["key"]) ?? "";
  const place = repository ? withKey(repository, key) : { s3: { key } };
  return {
    name: textOf(item["name"]) ?? "",
    artifact: { kind: "file", digest: `sha256:${"0".repeat(64)}`, size: 0 },
    copy: { place, packed: keyOf(place)?.endsWith(".tgz") ? "tar" : "none" },
  };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
