import { resolve } from "node:path";
import { createEngine, type Engine, type Mount } from "../../src/engine/mod.ts";
import { defaultLimits } from "../../src/limits/mod.ts";
import type { Outcome, Preopen, Setting } from "./setting.ts";

export const guest: string = resolve(import.meta.dirname, "guest/guest.wasm");

/** Runs scripts in our own engine. */
export class Ours implements AsyncDisposable {
  readonly #engine: Engine = createEngine({ threads: 1 });

  async run(script: string, setting: Setting): Promise<Outcome> {
    const module = await this.#engine.load({ path: guest });
    const result = await this.#engine.run(module, {
      arguments: ["guest", script, ...setting.arguments],
      environment: new Map(setting.environment),
      stdin: Buffer.from(setting.stdin),
      mounts: setting.preopens.map(mountOf),
      preopens: setting.preopens.map(({ path }) => path),
      collect: [],
      limits: { ...defaultLimits, timeMs: 20_000 },
    });
    const told = Buffer.from(result.stderr).toString();
    if (result.kind === "exited") return { told, end: `exit ${result.exitCode}` };
    if (result.kind === "trapped") return { told, end: `trap: ${result.message}` };
    return { told, end: `${result.kind}: ${result.failure.code}` };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine[Symbol.asyncDispose]();
  }
}

function mountOf({ path, readOnly, entries }: Preopen): Mount {
  return {
    path,
    readOnly,
    content: {
      kind: "directory",
      entries: entries.map((entry) => {
        if (entry.kind === "directory") return { ...entry, mode: 0o755 };
        if (entry.kind === "symlink") return entry;
        const content = { kind: "bytes", bytes: Buffer.from(entry.content) } as const;
        return { kind: "file", path: entry.path, mode: 0o644, content } as const;
      }),
    },
  };
}
