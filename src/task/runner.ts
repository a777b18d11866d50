import { basename } from "node:path";
import type { ArtifactStore, StoredArtifact } from "../artifacts/mod.ts";
import type { Collected, Engine, Mount, Result } from "../engine/mod.ts";
import { Failure, toFailure } from "../errors/mod.ts";
import { resolveLimits } from "../limits/mod.ts";
import type { InputArtifact, RunTaskOptions, Task, TaskResult, TaskRunner } from "./mod.ts";

/** Largest `outputs.result` and output parameter: Argo keeps both in the workflow object. */
const parameterBytes = 256 * 1024;
const tailLines = 20;

export interface TaskRunnerOptions {
  readonly engine: Engine;
  readonly artifacts: ArtifactStore;
  /** Module files by image reference. */
  readonly images: ReadonlyMap<string, string>;
}

/** Makes a runner that turns inputs into an invocation and a result into outputs. */
export function createTaskRunner(options: TaskRunnerOptions): TaskRunner {
  return new SandboxRunner(options);
}

class SandboxRunner implements TaskRunner {
  readonly #options: TaskRunnerOptions;
  constructor(options: TaskRunnerOptions) {
    this.#options = options;
  }

  async run(task: Task, options: RunTaskOptions = {}): Promise<TaskResult> {
    const start = performance.now();
    const timings = {
      queueMs: 0,
      pullMs: 0,
      compileMs: 0,
      instantiateMs: 0,
      runMs: 0,
      artifactsMs: 0,
    };
    try {
      const { engine } = this.#options;
      const limits = resolveLimits(task.program.limits);
      const module = await engine.load({ path: this.#find(task) }, { limits });
      timings.compileMs = performance.now() - start;
      const mounts = await Promise.all(task.inputs.map((input) => this.#mount(input)));
      const collect = [...task.outputs.parameters, ...task.outputs.artifacts].map((output) =>
        checkedPath(output.path, output.name),
      );
      timings.artifactsMs = performance.now() - start - timings.compileMs;
      const result = await engine.run(
        module,
        {
          arguments: [basename(module.name, ".wasm"), ...task.program.arguments],
          environment: new Map(task.environment.map(({ name, value }) => [name, value])),
          mounts: [...parents(collect), ...mounts.filter((mount) => mount !== undefined)],
          collect,
          limits,
          ...(task.stdin === undefined ? {} : { stdin: Buffer.from(task.stdin) }),
        },
        options,
      );
      timings.instantiateMs = result.usage.instantiateMs;
      timings.runMs = result.usage.runMs;
      const storing = performance.now();
      let finished: Omit<TaskResult, "timings">;
      try {
        finished = await this.#finish(task, result);
      } finally {
        await this.#options.artifacts.discard(result.collected);
      }
      timings.artifactsMs += performance.now() - storing;
      return { ...finished, timings, memoryBytes: result.usage.memoryBytes };
    } catch (thrown) {
      const failure = toFailure(thrown);
      const outputs = { parameters: [], artifacts: [] };
      return {
        phase: "Error",
        message: failure.message,
        outputs,
        failure: failure.toJSON(),
        timings,
      };
    }
  }

  #find(task: Task): string {
    const { module } = task.program;
    if ("path" in module) return module.path;
    const path = this.#options.images.get(module.image);
    if (path !== undefined) return path;
    throw new Failure("module-not-found", `No module is known for the image "${module.image}"`, {
      hint: `Registries are not read yet: name a local file for it under "images:" in atalanta.yaml, or with --image "${module.image}=FILE".`,
    });
  }

  async #mount(input: InputArtifact): Promise<Mount | undefined> {
    if (!input.source) return undefined;
    const path = checkedPath(input.path, input.name);
    const { source } = input;
    const content =
      source.kind === "raw"
        ? ({
            kind: "file",
            mode: 0o644,
            content: { kind: "bytes", bytes: Buffer.from(source.data) },
          } as const)
        : await this.#options.artifacts.content(source.artifact, source.subPath);
    return { path, readOnly: false, content };
  }

  async #finish(task: Task, result: Result): Promise<Omit<TaskResult, "timings">> {
    const log = await this.#log(result);
    const ended = end(result);
    const parameters: { readonly name: string; readonly value: string }[] = [];
    const artifacts: { readonly name: string; readonly artifact: StoredArtifact }[] = [];
    const at = new Map(result.collected.map((item) => [item.path, item]));
    let problem: Failure | undefined;
    for (const output of task.outputs.parameters) {
      try {
        parameters.push({
          name: output.name,
          value: await this.#parameter(at.get(output.path), output),
        });
      } catch (thrown) {
        problem ??= toFailure(thrown);
      }
    }
    for (const output of task.outputs.artifacts) {
      const found = at.get(output.path);
      if (!found || found.kind === "missing") {
        if (output.optional) continue;
        problem ??= new Failure(
          "artifact-missing",
          `The output artifact "${output.name}" was not written: there is nothing at ${output.path}`,
          {
            hint: "Check the path against what the program writes, or set optional: true.",
          },
        );
        continue;
      }
      artifacts.push({ name: output.name, artifact: await this.#options.artifacts.put(found) });
    }
    let value: string | undefined;
    if (task.outputs.result) {
      if (result.stdout.length > parameterBytes) {
        problem ??= tooLarge("outputs.result", result.stdout.length);
      } else value = trimmed(result.stdout);
    }
    const outputs = { parameters, artifacts, ...(value === undefined ? {} : { result: value }) };
    const failed = ended.phase !== "Succeeded";
    const tail = failed ? lastLines(result.stderr) : "";
    const base = { outputs, ...(log ? { log } : {}), ...(tail ? { stderrTail: tail } : {}) };
    if (problem && !failed) {
      return { ...base, phase: "Error", message: problem.message, failure: problem.toJSON() };
    }
    return { ...base, ...ended };
  }

  async #parameter(
    found: Collected | undefined,
    output: { readonly name: string; readonly path: string; readonly default?: string },
  ): Promise<string> {
    if (found?.kind === "file") {
      const { content } = found;
      const size = content.kind === "bytes" ? content.bytes.length : content.size;
      if (size > parameterBytes) throw tooLarge(`The output parameter "${output.name}"`, size);
      if (content.kind === "bytes") return trimmed(content.bytes);
      return trimmed(await this.#options.artifacts.read(await this.#options.artifacts.put(found)));
    }
    if (output.default !== undefined) return output.default;
    throw new Failure(
      "artifact-missing",
      `The output parameter "${output.name}" was not written: there is no file at ${output.path}`,
      {
        hint: "Check the path against what the program writes, or give valueFrom.default.",
      },
    );
  }

  async #log(result: Result): Promise<StoredArtifact | undefined> {
    const { stdout, stderr } = result;
    if (stdout.length + stderr.length === 0) return undefined;
    return this.#options.artifacts.putBytes(Buffer.concat([stdout, stderr]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#options.engine[Symbol.asyncDispose]();
  }
}

function end(
  result: Result,
): Pick<TaskResult, "phase" | "message" | "exitCode" | "stack" | "failure"> {
  if (result.kind === "exited") {
    const { exitCode } = result;
    if (exitCode === 0) return { phase: "Succeeded", exitCode };
    return { phase: "Failed", message: `Error (exit code ${exitCode})`, exitCode };
  }
  if (result.kind === "trapped") {
    const place = result.stack[0] === undefined ? "" : ` in ${result.stack[0]}`;
    return { phase: "Failed", message: `Trap: ${result.message}${place}`, stack: result.stack };
  }
  const phase = result.kind === "stopped" && result.failure.code !== "aborted" ? "Failed" : "Error";
  return { phase, message: result.failure.message, failure: result.failure };
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

function checkedPath(path: string, name: string): string {
  if (
    path.startsWith("/") &&
    path !== "/" &&
    !path.split("/").includes("..") &&
    !path.includes("\0")
  )
    return path;
  throw new Failure("artifact-path", `The path "${path}" of "${name}" is not usable`, {
    hint: 'Write an absolute path without "..", such as /tmp/doc.',
  });
}

/** Argo takes one newline from the end, no more. */
function trimmed(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString();
  return text.endsWith("\n") ? text.slice(0, -1) : text;
}

function lastLines(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(-8192))
    .toString()
    .trimEnd()
    .split("\n")
    .slice(-tailLines)
    .join("\n");
}

function tooLarge(what: string, size: number): Failure {
  return new Failure(
    "output-too-large",
    `${what} has ${size} bytes; the ceiling is ${parameterBytes}`,
    {
      hint: "Hand large data out as an artifact.",
    },
  );
}
