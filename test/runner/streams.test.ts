import assert from "node:assert/strict";
import { resolve } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Engine, Invocation, RunOptions } from "../../src/engine/mod.ts";
import { Failure } from "../../src/errors/mod.ts";
import { defaultLimits } from "../../src/limits/mod.ts";
import { createRunners } from "../../src/runner/mod.ts";

const path = resolve(import.meta.dirname, "../guests/functions/functions.wasm");
const runners = createRunners({ threads: 2, spares: 0 });
after(() => runners[Symbol.asyncDispose]());

async function call(
  engine: Engine,
  words: readonly string[],
  options: RunOptions & Pick<Invocation, "entry" | "stdin"> = {},
): Promise<Awaited<ReturnType<Engine["run"]>>> {
  const { entry, stdin, ...rest } = options;
  const limits = { ...defaultLimits, timeMs: 20_000 };
  const module = await engine.load({ path }, { limits });
  const invocation = {
    arguments: ["functions", ...words],
    environment: new Map<string, string>(),
    mounts: [],
    collect: [],
    limits,
    ...(entry === undefined ? {} : { entry }),
    ...(stdin === undefined ? {} : { stdin }),
  };
  return engine.run(module, invocation, rest);
}

async function* blocks(count: number, size: number): AsyncGenerator<Uint8Array, undefined> {
  for (let at = 0; at < count; at++) yield new Uint8Array(size).fill(at % 251);
}

for (const trust of ["thread", "process"] as const) {
  describe(`streams of a guest in the class ${trust}`, () => {
    const engine = runners.engine({ trust, owner: "streams" });

    test("come and go piece by piece, all bytes in their order", async () => {
      const count = 300;
      const size = 70_001;
      let at = 0;
      const result = await call(engine, ["pipe"], {
        stdin: Buffer.from([250]),
        input: blocks(count, size),
        pour(bytes) {
          for (const byte of [bytes[0], bytes.at(-1)]) assert.ok(byte !== undefined && byte < 251);
          if (at === 0) assert.equal(bytes[0], 250);
          at += bytes.length;
        },
      });
      assert.equal(result.kind === "exited" && result.exitCode, 0);
      assert.equal(at, 1 + count * size);
      assert.equal(result.stdout.length, 0);
    });

    test("make the guest wait while nobody takes what it writes", async () => {
      let given = 0;
      let taken = 0;
      const gate = Promise.withResolvers<undefined>();
      async function* endless(): AsyncGenerator<Uint8Array, undefined> {
        for (let left = 1000; left > 0; left--) {
          given += 65_536;
          yield new Uint8Array(65_536);
        }
      }
      const running = call(engine, ["pipe"], {
        input: endless(),
        async pour(bytes) {
          await gate.promise;
          taken += bytes.length;
        },
      });
      await sleep(300);
      assert.equal(taken, 0);
      assert.ok(given < 8 * 1024 * 1024, `${given} bytes were taken in while none went out`);
      gate.resolve(undefined);
      const result = await running;
      assert.equal(result.kind, "exited");
      assert.equal(taken, 1000 * 65_536);
    });

    test("keep no thread while the guest waits for more", async () => {
      const never = Promise.withResolvers<IteratorResult<Uint8Array, undefined>>();
      const stop = new AbortController();
      const waiting = Array.from({ length: 8 }, () =>
        call(engine, ["pipe"], {
          input: { next: () => never.promise },
          pour: () => undefined,
          signal: stop.signal,
        }),
      );
      const other = await call(engine, ["greet"], { stdin: Buffer.from('["Ada"]') });
      assert.equal(Buffer.from(other.stdout).toString(), '"Hello, Ada!"');
      stop.abort();
      for (const result of await Promise.all(waiting)) {
        assert.equal(result.kind === "stopped" && result.failure.code, "aborted");
      }
    });

    test("stop the guest when whoever takes them fails, and say why", async () => {
      const result = await call(engine, ["pipe"], {
        input: blocks(100, 65_536),
        pour() {
          throw new Failure("aborted", "the reader has left");
        },
      });
      assert.equal(result.kind, "stopped");
      assert.match(result.kind === "stopped" ? result.failure.message : "", /reader has left/);
    });

    test("tell the guest of an input that breaks off", async () => {
      async function* broken(): AsyncGenerator<Uint8Array, undefined> {
        yield Buffer.from("some");
        throw new Error("the line was cut");
      }
      let got = "";
      const result = await call(engine, ["pipe"], {
        input: broken(),
        pour: (bytes) => void (got += Buffer.from(bytes).toString()),
      });
      assert.equal(got, "some");
      assert.ok(!(result.kind === "exited" && result.exitCode === 0));
    });

    test("an export without parameters is called by its name, and any other name is main's", async () => {
      const named = await call(engine, ["exported"], { entry: "exported" });
      assert.equal(Buffer.from(named.stdout).toString(), '"from the export"');
      const other = await call(engine, ["add"], { entry: "add", stdin: Buffer.from("[1,2]") });
      assert.equal(Buffer.from(other.stdout).toString(), "3");
    });
  });
}
