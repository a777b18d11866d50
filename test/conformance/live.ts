import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { guest } from "./ours.ts";
import type { Outcome, Setting } from "./setting.ts";

/** One entry of a real directory after the guest ended. */
export interface Found {
  readonly path: string;
  readonly kind: "file" | "directory" | "symlink";
  readonly content?: string;
  readonly target?: string;
  readonly size?: number;
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
    const child = spawn(python, ["-B", resolve(import.meta.dirname, "live.py"), guest], {
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
    tree = false,
  ): Promise<Outcome & { readonly trees?: readonly (readonly Found[])[] }> {
    const asked = {
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
      tree,
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
