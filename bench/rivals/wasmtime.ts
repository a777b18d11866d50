import { spawn, spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

export interface Rival extends AsyncDisposable {
  readonly version: string;
  /** Runs the module once, with argv, in a fresh store. */
  run(args: readonly string[]): Promise<{ readonly tookMs: number; readonly stdout: string }>;
}

/**
 * wasmtime from PyPI in a virtual environment below `folder`, with one module compiled and `work` as the guest's `/tmp`; or why
 * it cannot be had.
 */
export async function wasmtime(
  folder: string,
  module: string,
  work: string,
): Promise<Rival | string> {
  const python = join(folder, "bin/python");
  const steps: readonly (readonly [string, ...string[]])[] = [
    ["python3", "-m", "venv", folder],
    [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "wasmtime"],
  ];
  for (const [command, ...parameters] of steps) {
    const { status, stderr, error } = spawnSync(command, parameters, {
      encoding: "utf8",
      timeout: 120_000,
    });
    if (status !== 0)
      return `${parameters.join(" ")}: ${error?.message ?? stderr.trim().slice(-300)}`;
  }
  const script = resolve(import.meta.dirname, "again.py");
  const child = spawn(python, [script, module, work], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<unknown> => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`again.py ended with ${child.exitCode ?? child.signalCode}`);
    return JSON.parse(value);
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own script printed it
  const { version } = (await answer()) as { readonly version: string };
  return {
    version,
    async run(args) {
      child.stdin.write(`${JSON.stringify(args)}\n`);
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own script printed it
      return (await answer()) as { readonly tookMs: number; readonly stdout: string };
    },
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => child.once("close", resolve));
      child.stdin.end();
      await ended;
    },
  };
}
