import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { compile } from "watr";
import { defaultLimits } from "../limits/mod.ts";
import { createEngine, type Result } from "./mod.ts";

const engine = createEngine({ threads: 1, mostThreads: 1 });
after(() => engine[Symbol.asyncDispose]());

let named = 0;
async function run(text: string): Promise<Result> {
  const bytes = new Uint8Array(compile(text));
  const module = await engine.load({ bytes, name: `memory-${named++}` });
  return engine.run(module, {
    arguments: ["memory"],
    environment: new Map(),
    mounts: [],
    collect: [],
    limits: defaultLimits,
  });
}

const exit = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))';

/** Ends with 7 when it finds anything but zeros in `pages` pages, or another size; then it writes them full, and does `then`. */
function looker(pages: number, then: string, more = ""): string {
  return `(module ${exit} ${more}
    (memory (export "memory") ${pages})
    (func (export "_start") (local $at i32)
      (if (i32.ne (memory.size) (i32.const ${pages})) (then (call $exit (i32.const 8))))
      (loop $next
        (if (i32.load (local.get $at)) (then (call $exit (i32.const 7))))
        (i32.store (local.get $at) (i32.const -1))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const ${pages * 65_536}))))
      ${then}))`;
}

describe("the memory of a guest", () => {
  for (const pages of [1, 23, 24, 25]) {
    test(`of ${pages} pages is all zero for each guest, whatever the one before wrote`, async () => {
      for (let round = 0; round < 5; round++) {
        const result = await run(looker(pages, ""));
        assert.equal(result.kind === "exited" && result.exitCode, 0);
        assert.equal(result.usage.memoryBytes, pages * 65_536);
      }
    });
  }

  for (const [how, then] of [
    ["grew its memory", "(drop (memory.grow (i32.const 3)))"],
    ["trapped", "unreachable"],
    ["left by proc_exit", "(call $exit (i32.const 0))"],
    ["divided by zero", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"],
  ] as const) {
    test(`is all zero and of its first size after a guest that ${how}`, async () => {
      for (let round = 0; round < 4; round++) {
        const result = await run(looker(2, then));
        const code = result.kind === "exited" ? result.exitCode : 0;
        assert.equal(code, 0, JSON.stringify(result));
      }
    });
  }

  test("has what the module's data say, and nothing that the guest before wrote over them", async () => {
    const text = `(module ${exit}
      (memory (export "memory") 2)
      (data (i32.const 100) "abc")
      (func (export "_start")
        (if (i32.ne (i32.load8_u (i32.const 101)) (i32.const 98)) (then (call $exit (i32.const 9))))
        (i32.store8 (i32.const 101) (i32.const 1))))`;
    for (let round = 0; round < 4; round++) {
      const result = await run(text);
      assert.equal(result.kind === "exited" && result.exitCode, 0);
    }
  });

  test("has the module's own ceiling", async () => {
    const text = `(module ${exit}
      (memory (export "memory") 1 3)
      (func (export "_start")
        (if (i32.ne (memory.grow (i32.const 2)) (i32.const 1)) (then (call $exit (i32.const 5))))
        (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then (call $exit (i32.const 6))))))`;
    for (let round = 0; round < 3; round++) {
      const result = await run(text);
      assert.equal(result.kind === "exited" && result.exitCode, 0);
    }
  });

  test("of a module without imports, and one that exports it not, is given, too", async () => {
    const result = await run(
      '(module (memory 1) (func (export "_start") (i32.store (i32.const 0) (i32.const 1))))',
    );
    assert.equal(result.kind, "exited");
  });

  test("cannot be asked for by a module itself", async () => {
    const result = await run(
      '(module (import "atalanta:memory" "memory" (memory 1)) (func (export "_start")))',
    );
    assert.equal(result.kind, "failed");
    assert.match(JSON.stringify(result), /memory/);
  });
});
