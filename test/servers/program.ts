// A server that runs as a process of its own: on a free port, in a folder that goes with it.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { get, type ClientRequest } from "node:http";
import { get as secureGet } from "node:https";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface ProgramOptions {
  readonly program: string;
  readonly args: (port: number, folder: string) => readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Answers as soon as the server serves, with any status. */
  readonly health: (port: number) => string;
  readonly folder?: string;
}

/** Time for a server to serve; each takes less than one second when the machine has nothing else to do. */
const longestStartMs = 30_000;
const attempts = 3;

export class Program implements AsyncDisposable {
  readonly port: number;
  /** Holds what it stores, and its log. */
  readonly folder: string;
  readonly #child: ChildProcess;
  readonly #kill = (): void => void this.#child.kill("SIGKILL");

  private constructor(child: ChildProcess, port: number, folder: string) {
    this.#child = child;
    this.port = port;
    this.folder = folder;
    // A process that ends without disposing of anything leaves no servers behind.
    process.once("exit", this.#kill);
  }

  static async start(options: ProgramOptions): Promise<Program> {
    for (let attempt = 1; ; attempt += 1) {
      const port = await freePort();
      const folder = mkdtempSync(join(options.folder ?? tmpdir(), "server-"));
      const log = openSync(join(folder, "log"), "w");
      const child = spawn(options.program, options.args(port, folder), {
        cwd: folder,
        env: { PATH: process.env["PATH"], HOME: folder, ...options.environment },
        stdio: ["ignore", log, log],
      });
      closeSync(log);
      const program = new Program(child, port, folder);
      try {
        await program.#serves(options.health(port));
        return program;
      } catch (error) {
        // Somebody else may have taken the port in between.
        await program[Symbol.asyncDispose]();
        if (attempt === attempts) throw error;
      }
    }
  }

  log(): string {
    return readFileSync(join(this.folder, "log"), "utf8");
  }

  /** Bytes that it holds in memory. */
  residentBytes(): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  }

  async #serves(url: string): Promise<void> {
    let ended = false;
    this.#child.once("error", () => (ended = true)).once("exit", () => (ended = true));
    const until = Date.now() + longestStartMs;
    for (;;) {
      try {
        await answers(url);
        return;
      } catch (error) {
        if (ended || Date.now() > until) throw new Error(this.log(), { cause: error });
        await new Promise((done) => setTimeout(done, 20));
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off("exit", this.#kill);
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Whatever it answers, and whoever signed its certificate. */
async function answers(url: string): Promise<void> {
  await new Promise<void>((done, failed) => {
    const options = { rejectUnauthorized: false, timeout: 1000, agent: false } as const;
    (url.startsWith("https:") ? secureGet : get)(url, options, (response) => {
      response.destroy();
      done();
    })
      .once("error", failed)
      .once("timeout", function timeout(this: ClientRequest) {
        this.destroy(new Error("no answer"));
      });
  });
}

/** A port that nobody has had a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
