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
  readonly onProgress: (bytes: number) => void;
}

const lookMs = 500;
const keptBytes = 16 * 1024;

/** Runs git, and gives what it printed. Fails with what it complained of, in our words. */
export async function git(words: readonly string[], options: GitOptions): Promise<string> {
  const { signal, watched, mostBytes, onProgress } = options;
  signal.throwIfAborted();
  const settings = options.settings.flatMap((setting) => ["-c", setting]);
  const child = spawn("git", [...settings, ...words], {
    cwd: options.folder,
    env: options.environment,
    stdio: ["ignore", "pipe", "pipe"],
    // A group of its own, as git starts others.
    detached: true,
  });
  let tooLarge = false;
  const kill = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  };
  const texts = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      texts[name] = (texts[name] + text).slice(-keptBytes);
    });
  }
  let looking = false;
  const look = setInterval(() => {
    if (looking) return;
    looking = true;
    void sizeOf(watched, mostBytes).then((bytes) => {
      looking = false;
      if (bytes <= mostBytes) return onProgress(bytes);
      tooLarge = true;
      kill();
    });
  }, lookMs);
  signal.addEventListener("abort", kill);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    signal.throwIfAborted();
    if (tooLarge) {
      throw new Failure("store-refused", `The repository has more than ${mostBytes} bytes`, {
        hint: "Ask for less of it: depth, singleBranch.",
      });
    }
    if (code !== 0) throw complaint(texts.stderr, words[0] ?? "");
    return texts.stdout;
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") {
      throw new Failure("store-refused", "There is no git on this machine", {
        cause: thrown,
        hint: "Install git where the step's artifacts are fetched.",
      });
    }
    throw thrown;
  } finally {
    clearInterval(look);
    signal.removeEventListener("abort", kill);
    kill();
  }
}

/** What git says where the wire or the other side is at fault, and whether that may pass. */
const complaints: readonly (readonly [RegExp, Failure["code"], boolean])[] = [
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

/** Bytes of a folder, counted until they are more than wanted. */
async function sizeOf(folder: string, most: number): Promise<number> {
  let bytes = 0;
  const folders = [folder];
  for (let next = folders.pop(); next !== undefined && bytes <= most; next = folders.pop()) {
    const items = await readdir(next, { withFileTypes: true }).catch(() => []);
    for (const item of items) {
      const path = join(next, item.name);
      if (item.isDirectory()) folders.push(path);
      else if (item.isFile()) bytes += (await lstat(path).catch(() => ({ size: 0 }))).size;
    }
  }
  return bytes;
}
