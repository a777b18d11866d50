import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import {
  createEngine,
  type Collected,
  type Engine,
  type HostBytes,
  type Mount,
} from "../../src/engine/mod.ts";
import { toFailure } from "../../src/errors/mod.ts";
import { defaultLimits } from "../../src/limits/mod.ts";
import type { Found, Outcome, Preopen, Setting } from "./setting.ts";

export const guest: string = resolve(import.meta.dirname, "guest/guest.wasm");

/** Runs scripts in our own engine. */
export class Ours implements AsyncDisposable {
  readonly #engine: Engine = createEngine({ threads: 1 });
  readonly #folder = mkdtempSync(join(tmpdir(), "conformance-"));
  readonly #taken = new Set<string>();
  #files = 0;

  /** With `slices`, files lie on the host's disk until the guest writes to them. */
  async run(
    script: string,
    setting: Setting,
    {
      slices = false,
      trees = false,
      module: path = guest,
    }: { readonly slices?: boolean; readonly trees?: boolean; readonly module?: string } = {},
  ): Promise<Outcome> {
    let module;
    try {
      module = await this.#engine.load({ path });
    } catch (thrown) {
      const { code, message } = toFailure(thrown);
      return { told: "", stdout: "", end: `failed: ${code}`, message };
    }
    const content = (text: string): HostBytes => {
      const bytes = Buffer.from(text);
      return slices ? this.#slice(bytes) : { kind: "bytes", bytes };
    };
    const result = await this.#engine.run(module, {
      arguments: ["guest", script, ...setting.arguments],
      environment: new Map(setting.environment),
      stdin: Buffer.from(setting.stdin),
      mounts: setting.preopens.map((preopen) => mountOf(preopen, content)),
      preopens: setting.preopens.map(({ path }) => path),
      collect: trees ? setting.preopens.map(({ path }) => path) : [],
      limits: { ...defaultLimits, timeMs: 20_000 },
    });
    const told = Buffer.from(result.stderr).toString();
    const stdout = Buffer.from(result.stdout).toString("hex");
    this.#taken.clear();
    const found = trees ? { trees: result.collected.map((item) => this.#treeOf(item)) } : {};
    for (const path of this.#taken) rmSync(path, { force: true });
    const end =
      result.kind === "exited"
        ? `exit ${result.exitCode}`
        : result.kind === "trapped"
          ? `trap: ${result.message}`
          : `${result.kind}: ${result.failure.code}`;
    const message = "failure" in result ? { message: result.failure.message } : {};
    return { told, stdout, end, ...found, ...message };
  }

  /** The bytes in the middle of a file, so that its beginning and end are not theirs. */
  #slice(bytes: Buffer): HostBytes {
    const path = join(this.#folder, `${this.#files++ % 64}`);
    writeFileSync(path, Buffer.concat([Buffer.from("before"), bytes, Buffer.from("after")]));
    return { kind: "slice", path, offset: 6, size: bytes.length };
  }

  #treeOf(collected: Collected): Found[] {
    if (collected.kind !== "directory") return [];
    return collected.entries.map((entry): Found => {
      const { path } = entry;
      if (entry.kind === "directory") return { path, kind: "directory" };
      if (entry.kind === "symlink") return { path, kind: "symlink", target: entry.target };
      return { path, kind: "file", content: this.#contentOf(entry.content).toString("hex") };
    });
  }

  #contentOf(content: HostBytes): Buffer {
    if (content.kind === "bytes") return Buffer.from(content.bytes);
    const { path, offset, size } = content;
    const bytes = readFileSync(path).subarray(offset, offset + size);
    // A spilled file is ours now; under a second name it may be gone already.
    if (!path.startsWith(this.#folder)) this.#taken.add(path);
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true });
  }
}

function mountOf(
  { path, readOnly, entries }: Preopen,
  content: (text: string) => HostBytes,
): Mount {
  return {
    path,
    readOnly,
    content: {
      kind: "directory",
      entries: entries.map((entry) => {
        if (entry.kind === "directory") return { ...entry, mode: 0o755 };
        if (entry.kind === "symlink") return entry;
        return { kind: "file", path: entry.path, mode: 0o644, content: content(entry.content) };
      }),
    },
  };
}
