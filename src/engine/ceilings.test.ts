import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { after, describe, test } from "node:test";
import { Failure } from "../errors/mod.ts";
import { defaultLimits } from "../limits/mod.ts";
import { createEngine, type Invocation, type Result } from "./mod.ts";

const engine = createEngine({ threads: 1 });
after(() => engine[Symbol.asyncDispose]());
const limits = { ...defaultLimits, memoryBytes: 2 * 1024 * 1024, timeMs: 2000 };
const invocation: Invocation = {
  arguments: ["it"],
  environment: new Map(),
  mounts: [],
  collect: [],
  limits,
};

const header = "0061736d01000000";
/** A section: its id and its content as hex, with a size of one byte. */
const section = (id: number, content: string): string =>
  Buffer.from([id, content.length / 2]).toString("hex") + content;
/** (func) and (func (param i32)) as types 0 and 1. */
const types = section(1, "0260000060017f00");
const functions = section(3, "0100");
const exported = (name: string, kind: string): string =>
  section(
    7,
    `01${Buffer.from([name.length]).toString("hex")}${Buffer.from(name).toString("hex")}${kind}`,
  );
const code = (body: string): string => section(10, `01${hexByte(body.length / 2 + 2)}00${body}0b`);
const hexByte = (value: number): string => Buffer.from([value]).toString("hex");

async function load(hex: string) {
  return engine.load({ bytes: Buffer.from(hex, "hex"), name: "it" }, { limits });
}

async function run(hex: string, timeMs = limits.timeMs): Promise<Result> {
  return engine.run(await load(hex), { ...invocation, limits: { ...limits, timeMs } });
}

describe("hostile sections are refused with a code", () => {
  const billion = "80a8d6b907"; // 2,000,000,000 as LEB128
  const cases: readonly (readonly [string, string, string])[] = [
    ["two thousand million memories", section(5, billion), "module-unsupported"],
    ["two memories", section(5, "0200010001"), "module-unsupported"],
    ["two thousand million tables", section(4, `${billion}700001`), "limit-table"],
    ["a table that starts above the ceiling", section(4, `017000${billion}`), "limit-table"],
    ["a memory that starts above the ceiling", section(5, "010021"), "limit-memory"],
    ["a shared memory", section(5, "01030101"), "module-unsupported"],
    ["a 64-bit memory", section(5, "010401"), "module-unsupported"],
    ["a number of 35 bits", section(5, "0100ffffffff7f"), "module-invalid"],
    ["a number without an end", section(5, "0100ffffffffffffff"), "module-invalid"],
    ["a section that is longer than its content", section(5, "01000100"), "module-invalid"],
    ["a section that is longer than the file", "05ffffffff0f0100", "module-invalid"],
    ["two memory sections", section(5, "010001") + section(5, "010001"), "module-invalid"],
    ["sections out of order", section(5, "010001") + section(4, "01700001"), "module-invalid"],
    ["an unknown section", section(99, "00"), "module-invalid"],
  ];
  for (const [what, sections, code_] of cases) {
    test(what, async () => {
      const refused = await load(header + sections).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      assert.ok(refused instanceof Failure, "it was accepted");
      assert.equal(refused.code, code_, refused.message);
    });
  }

  test("a module above the ceiling of size", async () => {
    const bytes = Buffer.alloc(2000);
    await assert.rejects(
      engine.load({ bytes, name: "it" }, { limits: { ...limits, moduleBytes: 1999 } }),
      { code: "module-too-large", message: /2000 bytes.*1999/ },
    );
  });
});

describe("what cannot be started says so", () => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ["a module that exports nothing", "", /exports no function "_start"/],
    ["a reactor", exported("_initialize", "0000"), /is a reactor/],
    [
      "a memory named _start",
      section(5, "010001") + exported("_start", "0200"),
      /exports no function/,
    ],
  ];
  for (const [what, exports, message] of cases) {
    test(what, async () => {
      const end = await run(header + types + functions + exports + code(""));
      assert.ok(end.kind === "failed");
      assert.equal(end.failure.code, "module-entry");
      assert.match(end.failure.message, message);
    });
  }

  test("an entry that wants parameters", async () => {
    const end = await run(
      header + types + section(3, "0101") + exported("_start", "0000") + code(""),
    );
    assert.ok(end.kind === "failed" && /wants parameters/.test(end.failure.message));
  });
});

describe("a start function counts as the guest", () => {
  const start = section(8, "00");
  test("its trap is a trap", async () => {
    const end = await run(
      header + types + functions + exported("_start", "0000") + start + code("00"),
    );
    assert.equal(end.kind, "trapped");
  });

  test("one that never returns is stopped", async () => {
    const loop = code("03400c000b");
    const end = await run(
      header + types + functions + exported("_start", "0000") + start + loop,
      100,
    );
    assert.ok(end.kind === "stopped" && end.failure.code === "limit-time");
  });
});

test("a loop of memory.grow ends at the ceiling and by its time", async () => {
  // (loop (drop (memory.grow (i32.const 1))) (br 0))
  const loop = code("0340410140001a0c000b");
  const memory = section(5, "010001");
  const end = await run(
    header + types + functions + memory + exported("_start", "0000") + loop,
    200,
  );
  assert.ok(end.kind === "stopped" && end.failure.code === "limit-time");
});

test("a mutated module is refused as V8 refuses it, or runs within the ceiling", async () => {
  const seed = Number(process.env["ATALANTA_SEED"] ?? Date.now() % 1_000_000);
  process.stdout.write(`# ATALANTA_SEED=${seed}\n`);
  let state = seed;
  const below = (count: number): number => {
    // Numerical Recipes' generator: enough to choose bytes with.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
  const guests = resolve(import.meta.dirname, "../../test/guests");
  const originals = ["hello/hello.wasm", "probe/probe.wasm"].map((name) =>
    readFileSync(resolve(guests, name)),
  );
  const counts = { refused: 0, ran: 0, stopped: 0 };
  for (let round = 0; round < 3000; round++) {
    const original = originals[round % 50 === 0 ? 1 : 0] ?? Buffer.alloc(0);
    const bytes = Buffer.from(mutated(original, below));
    const valid = WebAssembly.validate(bytes);
    const where = `round ${round}, seed ${seed}`;
    const module = await engine.load({ bytes, name: "it" }, { limits }).catch((thrown: unknown) => {
      assert.ok(
        thrown instanceof Failure && thrown.code !== "internal",
        `${where}: ${String(thrown)}`,
      );
      return undefined;
    });
    if (!module) {
      counts.refused++;
      continue;
    }
    assert.ok(valid, `${where}: V8 refuses it, and we made it pass`);
    if (round % 3 !== 0) continue;
    const end = await engine.run(module, { ...invocation, limits: { ...limits, timeMs: 100 } });
    counts[end.kind === "stopped" ? "stopped" : "ran"]++;
    const failure = end.kind === "stopped" || end.kind === "failed" ? end.failure : undefined;
    assert.notEqual(failure?.code, "internal", `${where}: ${failure?.message}`);
    assert.ok(end.usage.memoryBytes <= limits.memoryBytes, where);
  }
  assert.ok(counts.refused > 100 && counts.ran > 100, JSON.stringify(counts));
});

/** Some bytes changed, most often near the beginning, where the sections of memory and tables lie. */
function mutated(original: Buffer, below: (count: number) => number): Uint8Array {
  const bytes = Buffer.from(original);
  const reach = below(3) === 0 ? bytes.length : 400;
  for (let left = 1 + below(3); left > 0; left--) {
    const at = 8 + below(reach - 8);
    const how = below(4);
    if (how === 0) bytes[at] = below(256);
    else if (how === 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
    else if (how === 2) bytes.copy(bytes, at, 8 + below(reach - 8), 8 + below(reach - 8));
    else return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + below(3) - 1)]);
  }
  return bytes;
}
