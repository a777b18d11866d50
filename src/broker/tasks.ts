import { Failure, toFailure } from "../errors/mod.ts";
import type { RunTaskOptions, StoredArtifact, Task, TaskResult, TaskRunner } from "../task/mod.ts";
import type { Call, CallDispatcher, Ended } from "../dispatch/mod.ts";
import type { Dispatcher } from "../dispatch/mod.ts";
import type { Broker } from "./connection.ts";
import { Transfer, type Artifacts } from "./transfer.ts";

/** What is needed of the folder of artifacts beside what a transfer needs. */
interface Folder extends Artifacts {
  publish(key: string, artifact: StoredArtifact): Promise<void>;
}

/** The namespace whose stream has the tasks of users without one. */
const localOwner = "workflows";

export interface RemoteTasksOptions {
  readonly broker: Broker;
  readonly calls: CallDispatcher;
  readonly artifacts: Folder;
  /** Tasks under way at once; default 256. */
  readonly capacity?: number;
  /** Runs what cannot go elsewhere: containers. */
  readonly local: Dispatcher;
}

/** Runs tasks of workflows on the runners of a broker. Each goes with a key, so that it is run once however often it is asked for. */
export function createRemoteTasks(options: RemoteTasksOptions): Dispatcher {
  const { calls, local, artifacts, capacity = 256 } = options;
  const transfer = new Transfer(options.broker.bodies, artifacts);
  return {
    capacity,
    async dispatch(task, asked = {}) {
      if (mustStay(task)) return local.dispatch(task, asked);
      try {
        for (const artifact of inputsOf(task)) await transfer.send(artifact);
        const ended = await calls.run(callOf(task), asked.signal ? { signal: asked.signal } : {});
        return await taken(ended, task, transfer, artifacts);
      } catch (thrown) {
        const failure = toFailure(thrown);
        if (failure.code === "aborted" && asked.signal?.aborted) throw failure;
        return notRun(failure);
      }
    },
    [Symbol.asyncDispose]: () => local[Symbol.asyncDispose](),
  };
}

/** Containers need a runtime that is here; and what is named by a key of this folder's repository lies here alone. */
function mustStay({ program, inputs }: Task): boolean {
  if (program.kind !== "wasm" || "path" in program.module) return true;
  return inputs.some(({ source }) => source?.kind === "key");
}

function* inputsOf({ inputs }: Task): Iterable<StoredArtifact> {
  for (const { source } of inputs) if (source?.kind === "stored") yield source.artifact;
}

function* outputsOf({ outputs, log }: TaskResult): Iterable<StoredArtifact> {
  for (const { artifact } of outputs.artifacts) yield artifact;
  if (log) yield log;
}

function callOf(task: Task): Call {
  const owner = task.owner ?? localOwner;
  const plain: Task = {
    ...task,
    // Names are given here, when the outputs have come.
    outputs: {
      ...task.outputs,
      artifacts: task.outputs.artifacts.map(({ key: _key, ...output }) => output),
    },
  };
  const id = `t${Buffer.from(task.key).toString("base64url").slice(-200)}`;
  return {
    id,
    owner,
    task: true,
    target: `${owner}/workflow`,
    program: { module: { image: "" }, limits: {} },
    function: "task",
    arguments: JSON.stringify(plain),
    key: task.key,
    fingerprint: "task",
    retry: { attempts: 1, backoffMs: 0, mostBackoffMs: 0 },
    pure: false,
  };
}

async function taken(
  ended: Ended,
  task: Task,
  transfer: Transfer,
  artifacts: Folder,
): Promise<TaskResult> {
  const { outcome } = ended;
  if (outcome.kind !== "returned") {
    const failure =
      outcome.kind === "failed"
        ? outcome.failure
        : new Failure("internal", outcome.error.message).toJSON();
    return notRun(new Failure(failure.code, failure.message));
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one of our runners wrote it
  const result = JSON.parse(Buffer.from(outcome.body).toString()) as TaskResult;
  for (const artifact of outputsOf(result)) await transfer.fetch(artifact);
  for (const { name, key } of task.outputs.artifacts) {
    const found = result.outputs.artifacts.find((output) => output.name === name);
    if (key !== undefined && found) await artifacts.publish(key, found.artifact);
  }
  return result;
}

/** What a runner makes of a task that came. */
export function createTaskServer(options: {
  readonly broker: Broker;
  readonly runner: TaskRunner;
  readonly artifacts: Artifacts;
}): (text: string, run: RunTaskOptions) => Promise<TaskResult> {
  const transfer = new Transfer(options.broker.bodies, options.artifacts);
  return async (text, run) => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one of our front ends wrote it
    const task = JSON.parse(text) as Task;
    for (const artifact of inputsOf(task)) await transfer.fetch(artifact);
    const result = await options.runner.run(task, run);
    for (const artifact of outputsOf(result)) await transfer.send(artifact);
    return result;
  };
}

function notRun(failure: Failure): TaskResult {
  return {
    phase: "Error",
    message: failure.message,
    failure: failure.toJSON(),
    outputs: { parameters: [], artifacts: [] },
    timings: { queueMs: 0, pullMs: 0, compileMs: 0, instantiateMs: 0, runMs: 0, artifactsMs: 0 },
  };
}
