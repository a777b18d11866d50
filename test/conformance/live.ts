import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { guest } from "./ours.ts";
import type { Outcome, Setting } from "./setting.ts";

export const wasmtimeVersion = "50.0.1";

/** The interpreter of a virtual environment of our own, which may not be there yet. */
const environment = join(tmpdir(), `atalanta-wasmtime-${wasmtimeVersion}`);
const python = join(environment, "bin", "python");

/** An interpreter that has wasmtime; PYTHON may name one. Undefined when there is none. */
export function findPython(): string | undefined {
  return process.env["PYTHON"] ?? (existsSync(python) ? python : undefined);
}

/** Makes a virtual environment with wasmtime in the temporary folder. */
export function makePython(): string {
  execFileSync("python3", ["-m", "venv", environment]);
  execFileSync(python, ["-m", "pip", "install", "--quiet", `wasmtime==${wasmtimeVersion}`]);
  return python;
}

/** Runs scripts in wasmtime from PyPI, on real directories. */
export class Wasmtime implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly version: string;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, version: string) {
    this.#child = child;
    this.#lines = lines;
    this.version = version;
  }

  /** `python` names an interpreter that has the package `wasmtime`. */
  static async start(python: string): Promise<Wasmtime> {
    const child = spawn(python, ["-B", resolve(import.meta.dirname, "live.py")], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const first = await lines.next();
    if (first.done) throw new Error(`${python} could not run live.py`);
    const { wasmtime } = JSON.parse(first.value) as { readonly wasmtime: string };
    return new Wasmtime(child, lines, wasmtime);
  }

  async run(
    script: string,
    setting: Setting,
    { trees = false, module = guest }: { readonly trees?: boolean; readonly module?: string } = {},
  ): Promise<Outcome> {
    const asked = {
      module,
      ...setting,
      arguments: ["guest", script, ...setting.arguments],
      stdin: Buffer.from(setting.stdin).toString("hex"),
      preopens: setting.preopens.map((preopen) => ({
        ...preopen,
        entries: preopen.entries.map((entry) =>
          entry.kind === "file"
            ? { ...entry, content: Buffer.from(entry.content).toString("hex") }
            : entry,
        ),
      })),
      trees,
    };
    this.#child.stdin?.write(`${JSON.stringify(asked)}\n`);
    const answer = await this.#lines.next();
    if (answer.done) throw new Error("wasmtime ended");
    return JSON.parse(answer.value) as Outcome;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.stdin?.end();
    await ended;
  }
}
