import { basename } from "node:path";
import { setTimeout } from "node:timers/promises";
import { Failure, toFailure } from "../errors/mod.ts";
import { ask, lastWords } from "./command.ts";

/** A runtime that answered. */
export interface ContainerRuntime {
  readonly kind: Kind;
  /** The client to call: a name found in `PATH`, or a path. */
  readonly command: string;
  /** Version of the engine. */
  readonly version: string;
}

type Kind = "docker" | "podman" | "nerdctl";

/** Why there is none: one reason for each client that was asked. */
export interface NoContainerRuntime {
  readonly missing: readonly { readonly command: string; readonly reason: string }[];
}

export interface DetectOptions {
  /** A client to use instead of the first that works: `docker`, `podman`, `nerdctl`, or the path of one. */
  readonly wanted?: string;
  /** Longest wait for a client that is there but does not answer; default 5 s. */
  readonly timeoutMs?: number;
  /** Longest wait for a preferred client once another one has answered; default 1 s. */
  readonly preferMs?: number;
}

/**
 * What each client is asked. A client without an engine is no runtime, so the question is one that only the engine can
 * answer; podman has none and answers for itself.
 */
const questions: Readonly<Record<Kind, readonly string[]>> = {
  docker: ["version", "--format", "{{.Server.Version}}"],
  podman: ["info", "--format", "{{.Version.Version}}"],
  nerdctl: ["info", "--format", "{{.ServerVersion}}"],
};

const kinds: readonly Kind[] = ["docker", "podman", "nerdctl"];
const found = new Map<string, Promise<ContainerRuntime | NoContainerRuntime>>();

/** Looks for a runtime, all clients at once; the answer is kept for this process. */
export function detectContainerRuntime(
  options: DetectOptions = {},
): Promise<ContainerRuntime | NoContainerRuntime> {
  const key = options.wanted ?? "";
  const known = found.get(key);
  if (known) return known;
  const detected = detect(options);
  found.set(key, detected);
  return detected;
}

/** The failure to end with when a workflow has container steps and nothing can run them. */
export function noContainerRuntime({ missing }: NoContainerRuntime): Failure {
  const reasons = missing.map(({ command, reason }) => `${command}: ${reason}`).join("; ");
  return new Failure(
    "container-runtime",
    `No container runtime is here to run container steps (${reasons})`,
    {
      hint: "Install podman (no service needed) or docker, start its engine, or name a client with ATALANTA_CONTAINER_RUNTIME; a step built for wasip1 needs none.",
    },
  );
}

async function detect(options: DetectOptions): Promise<ContainerRuntime | NoContainerRuntime> {
  const { wanted, timeoutMs = 5000, preferMs = 1000 } = options;
  if (wanted !== undefined) {
    const kind = kinds.find((name) => name === wanted) ?? (await kindOf(wanted, timeoutMs));
    if (typeof kind !== "string") return { missing: [kind] };
    const probed = await probe(kind, wanted, timeoutMs);
    return "reason" in probed ? { missing: [probed] } : probed;
  }
  const settled = new AbortController();
  const probes = kinds.map((kind) => probe(kind, kind, timeoutMs, settled.signal));
  const late = Promise.any(probes.map(async (asked) => onlyRuntime(await asked)))
    .then(() => setTimeout(preferMs, undefined, { signal: settled.signal }))
    .catch(() => undefined);
  const missing: Refusal[] = [];
  try {
    for (const [index, asked] of probes.entries()) {
      const command = kinds[index] ?? "";
      const answer = await Promise.race([
        asked,
        late.then((): Refusal => ({ command, reason: "it did not answer in time" })),
      ]);
      if (!("reason" in answer)) return answer;
      missing.push(answer);
    }
    return { missing };
  } finally {
    settled.abort();
  }
}

interface Refusal {
  readonly command: string;
  readonly reason: string;
}

function onlyRuntime(answer: ContainerRuntime | Refusal): ContainerRuntime {
  if ("reason" in answer) throw new Error(answer.reason);
  return answer;
}

async function probe(
  kind: Kind,
  command: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<ContainerRuntime | Refusal> {
  try {
    const answer = await ask(command, questions[kind], { timeoutMs, signal });
    const version = answer.stdout.trim();
    if (answer.exitCode === 0 && /^v?\d/.test(version)) return { kind, command, version };
    return { command, reason: lastWords(answer.stderr || answer.stdout) };
  } catch (thrown) {
    return { command, reason: reasonOf(thrown) };
  }
}

/** Which client a path names: its file name may be anything, what it says of itself is not. */
async function kindOf(command: string, timeoutMs: number): Promise<Kind | Refusal> {
  const named = kinds.find((kind) => basename(command) === kind);
  if (named) return named;
  try {
    const { stdout } = await ask(command, ["--version"], { timeoutMs });
    const kind = kinds.find((name) => stdout.toLowerCase().startsWith(name));
    return kind ?? { command, reason: "it is neither docker, podman nor nerdctl" };
  } catch (thrown) {
    return { command, reason: reasonOf(thrown) };
  }
}

function reasonOf(thrown: unknown): string {
  const failure = toFailure(thrown);
  const { cause } = failure;
  if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return "not installed";
  return failure.message;
}
