import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";

export const root: string = resolve(import.meta.dirname, "../..");
const main = join(root, "src/cli/main.ts");

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A home folder of its own for the commands of a test file. */
export class Home implements Disposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), "atalanta-test-"));
  /** Environment of the commands, beside PATH and HOME. */
  readonly environment: Record<string, string> = {};

  /** Runs the command line in the project's folder. */
  run(
    args: readonly string[],
    options: { readonly input?: string; readonly cwd?: string; readonly timeout?: number } = {},
  ): Ended {
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
      cwd: root,
      encoding: "utf8",
      env: this.env(),
      // What hangs may not hear of a gentler one.
      killSignal: "SIGKILL",
      ...options,
    });
    return { status, stdout, stderr };
  }

  /** Begins it and comes back at once. */
  start(args: readonly string[]): Started {
    return new Started(
      spawn(process.execPath, [main, ...args], { cwd: root, env: this.env(), stdio: "pipe" }),
    );
  }

  /** The same on a pseudo terminal of this size: stdout and stderr are one. Undefined where util-linux's `script` is not. */
  terminal(
    args: readonly string[],
    { columns = 80, rows = 24 }: { readonly columns?: number; readonly rows?: number } = {},
  ): { readonly status: number | null; readonly screen: string } | undefined {
    const words = [process.execPath, main, ...args].map((word) => `'${word}'`).join(" ");
    const command = `stty columns ${columns} rows ${rows}; exec ${words}`;
    const { error, status, stdout } = spawnSync("script", ["-qec", command, "/dev/null"], {
      cwd: root,
      encoding: "utf8",
      env: { TERM: "xterm-256color", ...this.env() },
    });
    return error ? undefined : { status, screen: stdout.replaceAll("\r\n", "\n") };
  }

  /** The same on a terminal whose window becomes narrower while the command runs. Undefined where python3 is not. */
  resized(
    args: readonly string[],
    { from, to }: { readonly from: number; readonly to: number },
  ): string | undefined {
    const script = `
import fcntl, os, pty, select, struct, sys, termios, time
def size(columns): fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
pid, fd = pty.fork()
if pid == 0:
    time.sleep(0.1)
    os.execv(sys.argv[3], sys.argv[3:])
size(int(sys.argv[1]))
out, narrow = b"", False
while True:
    try: piece = os.read(fd, 65536)
    except OSError: break
    if not piece: break
    out += piece
    if not narrow and out.count(b"\x1b[J") >= 2:
        narrow = True
        size(int(sys.argv[2]))
        out += b"\x1b[9z"
sys.stdout.buffer.write(out)
os.waitpid(pid, 0)
`;
    const words = [String(from), String(to), process.execPath, main, ...args];
    const { error, stdout } = spawnSync("python3", ["-c", script, ...words], {
      cwd: root,
      encoding: "utf8",
      env: { TERM: "xterm-256color", ...this.env() },
    });
    return error ? undefined : stdout.replaceAll("\r\n", "\n");
  }

  /** What a bash script prints. */
  shell(script: string): string {
    return spawnSync("bash", ["-c", script], { cwd: root, encoding: "utf8", env: this.env() })
      .stdout;
  }

  env(): Record<string, string> {
    return { PATH: process.env["PATH"] ?? "", HOME: this.folder, ...this.environment };
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A command that goes on. */
export class Started {
  readonly process: ChildProcess;
  stdout = "";
  stderr = "";
  readonly ended: Promise<number | null>;

  constructor(child: ChildProcess) {
    this.process = child;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (this.stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    this.ended = new Promise((resolve) => child.on("close", resolve));
  }

  /** Waits until stdout matches. Throws with all that was printed when it never does. */
  async prints(pattern: RegExp, withinMs = 20_000): Promise<void> {
    const until = Date.now() + withinMs;
    while (!pattern.test(this.stdout)) {
      if (Date.now() > until || this.process.exitCode !== null) {
        if (pattern.test(this.stdout)) return;
        this.process.kill("SIGKILL");
        throw new Error(`Not printed: ${pattern}\n${this.stdout}\n${this.stderr}`);
      }
      await setTimeout(20);
    }
  }
}

/** Lines of JSON as objects. */
export function jsonLines(text: string): readonly Record<string, unknown>[] {
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
