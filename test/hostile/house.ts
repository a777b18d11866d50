import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEngine, type Engine } from "../../src/engine/mod.ts";
import { corpus } from "./corpus/mod.ts";
import { complaint, runGuest, type Hostile } from "./guest.ts";

/** An engine that hostile guests run in, and what must be true of it after each of them. */
export class House implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
  readonly #engine: Engine = createEngine({ threads: 1, stagingFolder: this.#folder });
  /** Descriptors and threads of the process with one thread for guests at rest. */
  #before: { readonly descriptors: number; readonly threads: number } | undefined;

  /** Runs one; throws when it did not end as it must, or left something, or broke what comes after it. */
  async visit(guest: Hostile): Promise<void> {
    if (!this.#before) {
      // Node's own pool of threads is started when it is first needed.
      await Promise.all(Array.from({ length: 16 }, () => stat(this.#folder)));
      // From the first guest that is stopped, a thread is held ready for the next time.
      for (let times = 0; times < 2; times++) await runGuest(this.#engine, stopped);
      await this.#hello();
      await new Promise((resolve) => setTimeout(resolve, 300));
      this.#before = present();
    }
    const start = performance.now();
    const wrong = complaint(guest, await runGuest(this.#engine, guest));
    const took = performance.now() - start;
    assert.equal(wrong, undefined, `${guest.name}: ${wrong}`);
    const most = guest.withinMs ?? 5000;
    assert.ok(took < most, `${guest.name} took ${Math.round(took)} ms, more than ${most}`);
    await this.#hello();
    assert.deepEqual(readdirSync(this.#folder), [], `${guest.name} left files`);
    await this.#settled(guest);
  }

  async #hello(): Promise<void> {
    const ended = await runGuest(this.#engine, hello);
    assert.deepEqual([ended.how, ended.stdout], ["exit 0", "hello\n"]);
  }

  /** A thread that was thrown away needs a moment to be gone. */
  async #settled({ name }: Hostile): Promise<void> {
    const before = this.#before ?? present();
    for (let tries = 0; ; tries++) {
      const now = present();
      if (now.descriptors <= before.descriptors && now.threads <= before.threads) return;
      assert.ok(tries < 100, `${name} left ${JSON.stringify(now)}, before it ${JSON.stringify(before)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
} // prettier-ignore

export const hello: Hostile = {
  name: "hello",
  wants: "say hello",
  ends: "exit 0",
  make: () => readFileSync(join(import.meta.dirname, "../guests/hello/hello.wasm")),
};

const stopped: Hostile = {
  name: "loop-endless",
  wants: "loop",
  ends: "limit-time",
  limits: { timeMs: 50 },
};

/** Only Linux says what a process has open. */
function present(): { readonly descriptors: number; readonly threads: number } {
  if (process.platform !== "linux") return { descriptors: 0, threads: 0 };
  return {
    descriptors: readdirSync("/proc/self/fd").length,
    threads: readdirSync("/proc/self/task").length,
  };
}

/** The corpus, without what takes seconds where it is the short form that is asked for. */
export function guests(form: "short" | "whole"): readonly Hostile[] {
  return corpus.filter(({ long }) => form === "whole" || !long);
}
