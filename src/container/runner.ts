import { createHash, randomUUID } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { Failure } from "../errors/mod.ts";
import { defaultLimits } from "../limits/mod.ts";
import type { ContainerRunner, RunTaskOptions } from "../task/mod.ts";
import { collectOutputs } from "./collect.ts";
import { ask, lastWords, start, stoppedByCaller, type Answer } from "./command.ts";
import type { ContainerRuntime } from "./detect.ts";
import { attach } from "./attach.ts";
import { layIn, scriptPath, type ContainerRequest, type Staged } from "./staging.ts";

export interface ContainerRunnerOptions {
  readonly runtime: ContainerRuntime;
  /** Folder for inputs and outputs, owned by the runner; default: a new one below the system's temporary folder. */
  readonly stagingFolder?: string;
  /** From SIGTERM to SIGKILL, in milliseconds; default 10 s. */
  readonly graceMs?: number;
  /** Bytes of stdout and of stderr, each; default as for a sandbox. */
  readonly outputBytes?: number;
  /** Longest time for one pull; default 15 minutes. */
  readonly pullMs?: number;
}

type ContainerResult = Awaited<ReturnType<ContainerRunner["run"]>>;

/** Any other command of the client: the engine may be busy with other work. */
const commandMs = 60_000;
const label = "dev.atalanta";

/** Makes a runner for `container:` and `script:` programs. Disposing removes its folder. */
export function createContainerRunner(
  options: ContainerRunnerOptions,
): ContainerRunner & AsyncDisposable {
  return new ClientRunner(options);
}

class ClientRunner implements ContainerRunner, AsyncDisposable {
  readonly #options: ContainerRunnerOptions;
  readonly #folder: string;
  /** Pulls under way, so that a loop over one image pulls it once. */
  readonly #pulls = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();

  constructor(options: ContainerRunnerOptions) {
    this.#options = options;
    this.#folder = options.stagingFolder ?? mkdtempSync(join(tmpdir(), "atalanta-containers-"));
  }

  async run(request: ContainerRequest, options: RunTaskOptions): Promise<ContainerResult> {
    const signals = [this.#closing.signal, ...(options.signal ? [options.signal] : [])];
    const signal = AbortSignal.any(signals);
    if (signal.aborted) throw stoppedByCaller();
    await this.#removeLeftovers(request.key, signal);
    const pulling = performance.now();
    await this.#provide(request, signal);
    const pullMs = performance.now() - pulling;
    const digest = digestOf(request.key);
    const name = `atalanta-${digest.slice(0, 12)}-${randomUUID().slice(0, 8)}`;
    const folder = await mkdtemp(join(this.#folder, "run-"));
    let handedOut = false;
    try {
      const staged = await layIn(folder, request);
      await this.#create(request, { name, staged, signal });
      const end = await this.#start(name, request, { ...options, signal });
      const { runtime } = this.#options;
      const collected = await collectOutputs(request.collect, {
        runtime,
        name,
        staged,
        folder,
        signal,
      });
      handedOut = collected.some((item) => item.kind !== "missing");
      return { ...end, collected, pullMs };
    } finally {
      await this.#remove(name);
      if (!handedOut) await discard(folder);
    }
  }

  async #create(
    request: ContainerRequest,
    { name, staged, signal }: { name: string; staged: readonly Staged[]; signal: AbortSignal },
  ): Promise<void> {
    const parameters = createParameters(this.#options.runtime, request, { name, staged });
    const answer = await this.#ask(parameters, signal);
    if (answer.exitCode === 0) return;
    throw new Failure(
      "container-failed",
      `Cannot create a container of "${request.image}": ${lastWords(answer.stderr)}`,
      { hint: "Check the image, its command and the step's resource limits." },
    );
  }

  /** Starts the container, hands its output on and waits for its end; whatever stops it is a failure. */
  async #start(
    name: string,
    request: ContainerRequest,
    options: RunTaskOptions & { readonly signal: AbortSignal },
  ): Promise<Omit<ContainerResult, "collected">> {
    const { runtime, outputBytes = defaultLimits.outputBytes } = this.#options;
    const stdin = request.stdin !== undefined;
    const parameters = ["start", "--attach", ...(stdin ? ["--interactive"] : []), name];
    const { stdout, stderr } = await attach(start(runtime.command, parameters, stdin), {
      command: runtime.command,
      stdin: request.stdin,
      outputBytes,
      timeMs: request.timeMs,
      signal: options.signal,
      onOutput: options.onOutput,
      stop: () => this.#stop(name),
    });
    let state = await this.#state(name);
    if (state.running) {
      // The client lost its engine for a moment, the container did not.
      await ask(runtime.command, ["wait", name], {
        timeoutMs: request.timeMs,
        signal: options.signal,
      });
      state = await this.#state(name);
    }
    if (!state.started) {
      const words = lastWords(state.error || Buffer.from(stderr).toString());
      throw new Failure("container-failed", `Cannot start "${request.image}": ${words}`, {
        hint: "Check that the image has the command, and that it was built for this machine.",
      });
    }
    // Podman 4 on cgroups v1 says false although the kernel's log says otherwise. We did not kill it, so with a ceiling of
    // memory a SIGKILL is the kernel's.
    const unseen = runtime.kind === "podman" && request.memoryBytes !== undefined;
    const killed = state.exitCode === 137 && (state.outOfMemory || unseen);
    return {
      exitCode: state.exitCode,
      stdout,
      stderr,
      ...(killed ? { reason: "OOMKilled" as const } : {}),
    };
  }

  async #state(name: string): Promise<State> {
    const answer = await this.#ask(["inspect", "--format", "{{json .State}}", name], undefined);
    const state = answer.exitCode === 0 ? parseState(answer.stdout) : undefined;
    if (state) return state;
    throw new Failure(
      "container-failed",
      `The container is gone before its end was known: ${lastWords(answer.stderr)}`,
      { hint: "Someone or something else removed it; run the step again." },
    );
  }

  /** SIGTERM, the time of grace, SIGKILL. */
  async #stop(name: string): Promise<void> {
    const graceMs = this.#options.graceMs ?? 10_000;
    const seconds = Math.ceil(graceMs / 1000);
    const { command } = this.#options.runtime;
    const parameters = seconds === 0 ? ["kill", name] : ["stop", "-t", String(seconds), name];
    // When this fails the container is killed by its removal.
    await ask(command, parameters, { timeoutMs: graceMs + commandMs }).catch(() => undefined);
  }

  async #remove(name: string): Promise<void> {
    // When this fails the container stays, is recognised by its label and removed when its key runs again.
    // Podman alone gives a running container a time of grace here; ours had its own.
    const now = this.#options.runtime.kind === "podman" ? ["--time=0"] : [];
    const parameters = ["rm", "--force", ...now, "--volumes", name];
    await this.#ask(parameters, undefined).catch(() => undefined);
  }

  /** Removes the containers that a process left which was killed while it ran this key. */
  async #removeLeftovers(key: string, signal: AbortSignal): Promise<void> {
    const filter = `label=${label}.key=${digestOf(key)}`;
    const answer = await this.#ask(["ps", "--all", "--quiet", "--filter", filter], signal);
    for (const id of answer.stdout.split("\n").filter((line) => line !== "")) {
      const format = `{{index .Config.Labels "${label}.owner"}}`;
      const { stdout, exitCode } = await this.#ask(["inspect", "--format", format, id], signal);
      if (exitCode === 0 && isGone(stdout.trim())) await this.#remove(id);
    }
  }

  /** Makes sure that the image is here. */
  async #provide(request: ContainerRequest, signal: AbortSignal): Promise<void> {
    const { image, pullPolicy = "IfNotPresent" } = request;
    if (!/^[A-Za-z0-9]/.test(image)) {
      throw new Failure("invalid-argument", `"${image}" is not an image reference`, {
        hint: "Write an image such as docker.io/library/alpine:3.20.",
      });
    }
    if (pullPolicy !== "Always") {
      const known = await this.#ask(["image", "inspect", image], signal);
      if (known.exitCode === 0) return;
      if (pullPolicy === "Never") {
        throw new Failure(
          "container-image",
          `The image "${image}" is not here, and pullPolicy: Never forbids to pull it`,
          { hint: "Build or load it first, or leave pullPolicy out." },
        );
      }
    }
    const pull = this.#pulls.get(image) ?? this.#pull(image);
    this.#pulls.set(image, pull);
    await orAborted(pull, signal);
  }

  async #pull(image: string): Promise<void> {
    try {
      const { command } = this.#options.runtime;
      const answer = await ask(command, ["pull", "--quiet", image], {
        timeoutMs: this.#options.pullMs ?? 15 * 60_000,
        signal: this.#closing.signal,
      });
      if (answer.exitCode === 0) return;
      throw new Failure(
        "container-image",
        `Cannot pull the image "${image}": ${lastWords(answer.stderr)}`,
        { hint: "Check its name, the network, and that the runtime is logged in to the registry." },
      );
    } finally {
      this.#pulls.delete(image);
    }
  }

  #ask(parameters: readonly string[], signal: AbortSignal | undefined): Promise<Answer> {
    return ask(this.#options.runtime.command, parameters, { timeoutMs: commandMs, signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#pulls.values());
    await discard(this.#folder);
  }
}

/** Every value is a part of its own option or stands after the image: none can become an option. */
function createParameters(
  runtime: ContainerRuntime,
  request: ContainerRequest,
  { name, staged }: { readonly name: string; readonly staged: readonly Staged[] },
): string[] {
  const { command, script, memoryBytes, cpus, workingDir } = request;
  const [entry, ...rest] = command ?? [];
  // Docker keeps what a container writes in a file that nothing bounds; we read it as it comes and keep it ourselves.
  const plain = runtime.kind === "nerdctl" ? [] : ["--log-driver=none"];
  const relabel = runtime.kind !== "nerdctl" && existsSync("/sys/fs/selinux/enforce") ? ":z" : "";
  return [
    "create",
    `--name=${name}`,
    `--label=${label}.key=${digestOf(request.key)}`,
    `--label=${label}.task=${request.key}`,
    `--label=${label}.owner=${owner(process.pid)}`,
    "--pull=never",
    ...plain,
    ...staged.map(({ host, path }) => `--volume=${host}:${mountable(path)}${relabel}`),
    ...[...request.environment].map(([variable, value]) => `--env=${variable}=${value}`),
    ...(workingDir === undefined ? [] : [`--workdir=${workingDir}`]),
    // The same ceiling for memory and memory with swap: a pod has no swap either.
    ...(memoryBytes === undefined
      ? []
      : [`--memory=${memoryBytes}b`, `--memory-swap=${memoryBytes}b`]),
    ...(cpus === undefined ? [] : [`--cpus=${cpus}`]),
    ...(request.stdin === undefined ? [] : ["--interactive"]),
    ...(entry === undefined ? [] : [`--entrypoint=${entryPoint(runtime, entry)}`]),
    request.image,
    ...rest,
    ...request.arguments,
    ...(script === undefined ? [] : [scriptPath]),
  ];
}

/** Podman reads a value that looks like a JSON list as one, so it always gets a list. */
function entryPoint(runtime: ContainerRuntime, entry: string): string {
  return runtime.kind === "podman" ? JSON.stringify([entry]) : entry;
}

function mountable(path: string): string {
  if (!path.includes(":")) return path;
  throw new Failure("artifact-path", `A container runtime cannot mount at "${path}"`, {
    hint: 'Choose a path without ":".',
  });
}

function digestOf(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

/** Names a process for good: its number may be given out again, its number and start time are not. */
function owner(pid: number): string {
  return `${hostname()}/${pid}/${startTime(pid)}`;
}

function startTime(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // Field 22 of the line; the second is in parentheses and may hold spaces (proc(5)).
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

/** Whether the process that a label names has ended. One on another machine is nobody's to judge from here. */
function isGone(named: string): boolean {
  const [host = "", pid = "", started = ""] = named.split("/");
  if (host !== hostname() || !/^\d+$/.test(pid)) return false;
  try {
    process.kill(Number(pid), 0);
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown && thrown.code === "ESRCH";
  }
  return startTime(Number(pid)) !== started;
}

interface State {
  readonly running: boolean;
  readonly started: boolean;
  readonly exitCode: number;
  readonly outOfMemory: boolean;
  readonly error: string;
}

function parseState(text: string): State | undefined {
  let state: unknown;
  try {
    state = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof state !== "object" || state === null) return undefined;
  if (!("ExitCode" in state) || typeof state.ExitCode !== "number") return undefined;
  const startedAt = "StartedAt" in state ? String(state.StartedAt) : "";
  return {
    running: "Running" in state && state.Running === true,
    // Go's zero time; nerdctl leaves the field out.
    started: !startedAt.startsWith("0001-"),
    exitCode: state.ExitCode,
    outOfMemory: "OOMKilled" in state && state.OOMKilled === true,
    error: "Error" in state && typeof state.Error === "string" ? state.Error : "",
  };
}

function orAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(stoppedByCaller());
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** Removes a folder of ours; a program may have left folders in it that nobody may write to. */
async function discard(folder: string): Promise<void> {
  try {
    await rm(folder, { recursive: true, force: true });
  } catch {
    await unlock(folder);
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

async function unlock(folder: string): Promise<void> {
  await chmod(folder, 0o700).catch(() => undefined);
  const items = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const item of items) if (item.isDirectory()) await unlock(join(folder, item.name));
}
