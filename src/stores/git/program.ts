import { spawn } from "node:child_process";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../../errors/mod.ts";
import { Trouble, shortened } from "../trouble.ts";

export interface GitOptions {
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Settings for this command alone. */
  readonly settings: readonly string[];
  readonly signal: AbortSignal;
  /** What lies in `watched` is counted while the command runs; above this it is stopped. */
  readonly watched: string;
  readonly mostBytes: number;
  readonly mostFiles: number;
  /** It is stopped when what lies in `watched` has not changed for so long. */
  readonly stillMs: number;
  readonly onProgress: (bytes: number) => void;
}

const lookMs = 500;
/** A tree that is in itself many times has no end in memory, either. Linux counts what a process has written to, and not the files that it maps. */
const memoryKibibytes = 4 * 1024 * 1024;
const bounded = `ulimit -d ${memoryKibibytes} 2>/dev/null; exec git "$@"`;
/** Of complaints the end is kept. */
const keptBytes = 16 * 1024;
/** What it prints is a list of submodules at most. */
const printedBytes = 1024 * 1024;

/** Runs git, and gives what it printed. Fails with what it complained of, in our words. */
export async function git(words: readonly string[], options: GitOptions): Promise<string> {
  const { signal, watched, stillMs, onProgress } = options;
  signal.throwIfAborted();
  const settings = options.settings.flatMap((setting) => ["-c", setting]);
  const child = spawn("/bin/sh", ["-c", bounded, "git", ...settings, ...words], {
    cwd: options.folder,
    env: options.environment,
    stdio: ["ignore", "pipe", "pipe"],
    // A group of its own, as git starts others.
    detached: true,
  });
  let stopped: Failure | undefined;
  const kill = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  };
  const texts = { stdout: "", stderr: "" };
  const stop = (failure: Failure): void => {
    stopped ??= failure;
    kill();
  };
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    texts.stderr = (texts.stderr + text).slice(-keptBytes);
  });
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    texts.stdout += text;
    if (texts.stdout.length > printedBytes) {
      stop(new Failure("store-refused", "The repository has lists that are too long"));
      texts.stdout = "";
    }
  });
  let looking = false;
  let last = { bytes: -1, files: -1 };
  let changedAt = performance.now();
  const look = setInterval(() => {
    if (looking) return;
    looking = true;
    void measure(watched, options).then((found) => {
      looking = false;
      const failure = excess(found, options);
      if (failure) return stop(failure);
      const now = performance.now();
      if (found.bytes !== last.bytes || found.files !== last.files) changedAt = now;
      last = found;
      if (now - changedAt > stillMs) {
        const again = { againMs: 0 };
        stop(new Trouble("store-unavailable", `Nothing came in ${stillMs / 1000} s`, again));
      }
      return onProgress(found.bytes);
    });
  }, lookMs);
  signal.addEventListener("abort", kill);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    signal.throwIfAborted();
    // oxlint-disable-next-line typescript/only-throw-error -- assigned by what runs meanwhile
    if (stopped) throw stopped;
    // What a shell says of a program that is not there.
    if (code === 127) {
      throw new Failure("store-refused", "There is no git on this machine", {
        hint: "Install git where the step's artifacts are fetched.",
      });
    }
    if (code !== 0) throw complaint(texts.stderr, words[0] ?? "");
    return texts.stdout;
  } finally {
    clearInterval(look);
    signal.removeEventListener("abort", kill);
    kill();
  }
}

/** What git says where the wire or the other side is at fault, and whether that may pass. */
const complaints: readonly (readonly [RegExp, Failure["code"], boolean])[] = [
  [/out of memory|malloc failed|cannot allocate/i, "artifact-too-large", false],
  [/returned error: (?:401|403|3\d\d)|could not read (?:Username|Password)|prompts disabled|Authentication failed|Permission denied/i, "store-refused", false],
  [/host key verification failed|certificate|redirect|transport '.*' not allowed/i, "store-refused", false],
  [/returned error: 404|repository .*not found|not appear to be a git repository|remote branch .* not found|couldn't find remote ref|not our ref|unknown revision|did not match any/i, "artifact-missing", false],
  [/unable to access|could not resolve host|failed to connect|connection|timed out|early EOF|hung up|RPC failed|disconnect|index-pack|fetch-pack/i, "store-unavailable", true],
]; // prettier-ignore

function complaint(stderr: string, verb: string): Failure {
  const lines = stderr.split("\n").filter((line) => /^(?:fatal|error|remote):|^ssh:|denied|verification/i.test(line)); // prettier-ignore
  const text = shortened(
    (lines.length > 0 ? lines.slice(-3).join(" ") : stderr) || `git ${verb} failed`,
  );
  const said = text.replaceAll(/\/\/[^/@\s]*@/g, "//");
  const [, code = "store-refused" as const, again = false] =
    complaints.find(([pattern]) => pattern.test(text)) ?? [];
  return new Trouble(code, `git says: ${said}`, again ? { againMs: 0 } : {});
}

export interface Measure {
  readonly bytes: number;
  readonly files: number;
}

export type Ceilings = Pick<GitOptions, "mostBytes" | "mostFiles">;

/** What has more than may be: few bytes can be very many files, where a tree is in itself many times. */
export function excess({ bytes, files }: Measure, most: Ceilings): Failure | undefined {
  const { mostBytes, mostFiles } = most;
  if (bytes <= mostBytes && files <= mostFiles) return undefined;
  const what = bytes > mostBytes ? `${mostBytes} bytes` : `${mostFiles} files`;
  return new Failure("artifact-too-large", `The repository has more than ${what}`, {
    hint: "Ask for less of it: depth, singleBranch.",
  });
}

/** Bytes and files of a folder, counted until they are more than wanted. */
async function measure(folder: string, most: Ceilings): Promise<Measure> {
  let found: Measure = { bytes: 0, files: 0 };
  const folders = [folder];
  for (let next = folders.pop(); next !== undefined && !excess(found, most); next = folders.pop()) {
    const items = await readdir(next, { withFileTypes: true }).catch(() => []);
    let { bytes } = found;
    for (const item of items) {
      const path = join(next, item.name);
      if (item.isDirectory()) folders.push(path);
      else if (item.isFile()) bytes += (await lstat(path).catch(() => ({ size: 0 }))).size;
    }
    found = { bytes, files: found.files + items.length };
  }
  return found;
}
