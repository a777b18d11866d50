import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe as group, test } from "node:test";
import { Failure } from "../errors/mod.ts";
import { defaultLimits } from "../limits/mod.ts";
import { createEngine, describe } from "./mod.ts";

const engine = createEngine({ threads: 1 });
const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(async () => {
  await engine[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});
const guests = resolve(import.meta.dirname, "../../test/guests");
const path = join(folder, "it.wasm");
const limits = { ...defaultLimits, timeMs: 2000 };

async function described(bytes: Uint8Array) {
  writeFileSync(path, bytes);
  return describe(path, engine, { limits });
}

// The first run starts a thread, which a busy machine may be slow at.
before(() => started(readFileSync(join(guests, "hello/hello.wasm"))));

group("describe() of a hostile module", () => {
  test("every beginning of a module is described, and refused as a start would be", async () => {
    const whole = readFileSync(join(guests, "hello/hello.wasm"));
    for (let size = 0; size < whole.length; size++) {
      const bytes = whole.subarray(0, size);
      const { refusal } = await described(bytes);
      assert.equal(refusal?.code, await started(bytes), `${size} bytes`);
    }
    assert.equal((await described(whole)).refusal, undefined);
  });

  test("what it calls runnable starts, whatever was changed in the bytes", async () => {
    const whole = readFileSync(join(guests, "hello/hello.wasm"));
    const seed = Number(process.env["SEED"] ?? Date.now() % 100_000);
    const random = generator(seed);
    const refusals = new Set(["module-import", "module-entry", "module-invalid"]);
    let runnable = 0;
    for (let round = 0; round < 400; round++) {
      const bytes = Buffer.from(whole);
      for (let left = 1 + random(3); left > 0; left--) bytes[random(bytes.length)] = random(256);
      const found = await described(bytes);
      assert.equal(found.sizeBytes, bytes.length);
      const outcome = await started(bytes);
      const said = found.refusal?.code;
      const why = `seed ${seed}, round ${round}: said ${said}, was ${outcome}`;
      if (said === undefined) {
        runnable++;
        assert.ok(!refusals.has(outcome ?? ""), why);
      } else assert.equal(outcome, said, why);
    }
    assert.ok(runnable > 20 && runnable < 400, `${runnable} ran`);
  });

  test("a file above the ceiling is not read", async () => {
    writeFileSync(path, Buffer.alloc(1025));
    const found = await describe(path, engine, { limits: { ...limits, moduleBytes: 1024 } });
    assert.equal(found.sizeBytes, 1025);
    assert.equal(found.digest, undefined);
    assert.equal(found.refusal?.code, "module-too-large");
  });

  test("a device is no module", async () => {
    await assert.rejects(describe("/dev/zero", engine), (thrown) => {
      assert.ok(thrown instanceof Failure);
      assert.equal(thrown.code, "module-not-found");
      return true;
    });
  });
});

/** The code of the failure with which a run ends that never began or had to be stopped. */
async function started(bytes: Uint8Array): Promise<string | undefined> {
  try {
    const module = await engine.load({ bytes, name: "it" }, { limits });
    const result = await engine.run(module, {
      arguments: ["it"],
      environment: new Map(),
      mounts: [],
      collect: [],
      limits,
    });
    return "failure" in result ? result.failure.code : undefined;
  } catch (thrown) {
    if (thrown instanceof Failure) return thrown.code;
    throw thrown;
  }
}

/** Whole numbers below a bound, always the same for a seed. */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
