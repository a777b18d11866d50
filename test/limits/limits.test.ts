import assert from "node:assert/strict";
import { resolve } from "node:path";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { createEngine, type HttpHandler, type Result } from "../../src/engine/mod.ts";
import { Failure, type FailureRecord } from "../../src/errors/mod.ts";
import {
  ceilings,
  defaultLimits,
  formatLimit,
  type LimitKey,
  type Limits,
} from "../../src/limits/mod.ts";
import { createGate } from "../../src/network/mod.ts";
import { calling, counting, growing, moduleOf, type Parts } from "./module.ts";

/**
 * Every ceiling on both sides: what is just allowed, and what is one too much. A guest above one is ended with its code, or gets
 * the error of WASI's that says it, and the result names the ceiling.
 */
const guests = resolve(import.meta.dirname, "../guests");
const engine = createEngine({ threads: 2 });
after(() => engine[Symbol.asyncDispose]());

interface Outcome {
  /** How it was refused or ended, when that was not its own doing. */
  readonly failure?: FailureRecord | undefined;
  readonly result?: Result;
  /** What each call of a scripted guest answered. */
  readonly answers: readonly string[];
}

type Source = { readonly path: string } | { readonly bytes: Uint8Array; readonly name: string };

interface Given {
  readonly arguments?: readonly string[];
  readonly stdin?: string;
  readonly http?: HttpHandler;
}

async function run(source: Source, limits: Limits, given: Given = {}): Promise<Outcome> {
  try {
    const module = await engine.load(source, { limits });
    const result = await engine.run(
      module,
      {
        arguments: given.arguments ?? ["it"],
        environment: new Map(),
        stdin: Buffer.from(given.stdin ?? ""),
        mounts: [{ path: "/d", readOnly: false, content: { kind: "directory", entries: [] } }],
        preopens: ["/d"],
        collect: [],
        limits,
      },
      given.http ? { http: given.http } : {},
    );
    const answers = Buffer.from(result.stdout).toString().split("\n").filter(Boolean);
    return { result, answers, ...("failure" in result ? { failure: result.failure } : {}) };
  } catch (thrown) {
    assert.ok(thrown instanceof Failure, String(thrown));
    return { failure: thrown.toJSON(), answers: [] };
  }
}

const scripted: Source = { path: resolve(guests, "call/call.wasm") };
const client: Source = { path: resolve(guests, "http/http.wasm") };
/** Calls of preview 1, one a line; see `test/guests/call/call.c`. */
const script = (limits: Limits, ...lines: readonly string[]): Promise<Outcome> =>
  run(scripted, limits, { stdin: lines.join("\n") });
const built = (limits: Limits, parts: Parts): Promise<Outcome> =>
  run({ bytes: moduleOf(parts), name: "it" }, limits);
const hex = (value: string): string => Buffer.from(value).toString("hex");
const u32 = (...values: readonly number[]): string => {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, index * 4);
  return bytes.toString("hex");
};
/** A path at scratch 2000, and the call with its address and length. */
const named = (value: string): string => `set 2000 ${hex(value)}`;
const opened = (value: string): readonly string[] => [
  named(value),
  // create, all rights
  `call path_open 3 0 @2000 ${value.length} 1 0x1fffffff 0x1fffffff 0 @900`,
];
const created = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => [
    named(`f${index}`),
    `call path_create_directory 3 @2000 ${`f${index}`.length}`,
  ]).flat();
/** Folders in each other, each made in the one before. */
const nested = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => [
    named("a"),
    `call path_create_directory ${3 + index} @2000 1`,
    `call path_open ${3 + index} 0 @2000 1 2 0 0 0 @900`,
  ]).flat();
/** A clock subscription that waits so many milliseconds. */
const asleep = (ms: number): readonly string[] => [
  `set 0 ${u32(0, 0, 0, 0, 1, 0, ms * 1_000_000, 0, 0, 0, 0, 0)}`,
  "call poll_oneoff @0 @100 1 @200",
];

let host = "";
const server = createServer((_request, response) => response.end("x".repeat(1000)));
before(async () => {
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  host = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => server.close());

async function asking(limits: Limits, count: number): Promise<Outcome> {
  const gate = createGate({
    permissions: { allowedHosts: [host], allowedAddresses: ["127.0.0.1"] },
  });
  using passage = await gate.open({ allowedHosts: [host], secrets: [], limits });
  return run(client, limits, {
    arguments: ["http", "GET", host, "-n", String(count), "-q", "1"],
    http: passage.http,
  });
}

interface Case {
  readonly key: LimitKey;
  /** What this row is about, where a ceiling has several. */
  readonly of?: string;
  /** Ceilings of the guest, its own among them. */
  readonly limits: Partial<Limits>;
  readonly below: (limits: Limits) => Promise<Outcome>;
  readonly above: (limits: Limits) => Promise<Outcome>;
  /** The errno that the guest gets; absent: it is ended, or does not begin. */
  readonly errno?: number;
  /** The value that the message names; absent where there is none to tell, such as of time. */
  readonly value?: string;
}

const page = 65_536;
const cases: readonly Case[] = [
  {
    key: "memory",
    of: "at the start",
    limits: { memoryBytes: 4 * page },
    below: (limits) => built(limits, { pages: 4 }),
    above: (limits) => built(limits, { pages: 5 }),
    value: "320Ki",
  },
  {
    key: "time",
    limits: { timeMs: 1000 },
    below: (limits) => script(limits, ...asleep(50)),
    above: (limits) => script(limits, ...asleep(4000)),
  },
  {
    key: "cpuTime",
    limits: { cpuMs: 200, timeMs: 20_000 },
    below: (limits) => built(limits, { locals: 1, body: counting(1000) }),
    above: (limits) => built(limits, { locals: 1, body: counting(Infinity) }),
  },
  {
    key: "tableElements",
    limits: { tableElements: 100 },
    below: (limits) => built(limits, { tableElements: 100 }),
    above: (limits) => built(limits, { tableElements: 101 }),
    value: "101",
  },
  {
    key: "output",
    limits: { outputBytes: 1000 },
    // The bytes from address 1024 on, whatever they are.
    below: (limits) => script(limits, `set 0 ${u32(1024, 1000)}`, "call fd_write 2 @0 1 @100"),
    above: (limits) => script(limits, `set 0 ${u32(1024, 1001)}`, "call fd_write 2 @0 1 @100"),
    value: "1001",
  },
  {
    key: "files",
    of: "by the size of one file",
    limits: { filesBytes: 1000, fileBytes: 1000 },
    below: (limits) => script(limits, ...opened("f"), "call fd_filestat_set_size 4 1000"),
    above: (limits) => script(limits, ...opened("f"), "call fd_filestat_set_size 4 1001"),
    errno: 51,
  },
  {
    key: "files",
    of: "by a write",
    limits: { filesBytes: 1000, fileBytes: 1000 },
    below: (limits) =>
      script(limits, ...opened("f"), `set 0 ${u32(1024, 1000)}`, "call fd_write 4 @0 1 @100"),
    above: (limits) =>
      script(limits, ...opened("f"), `set 0 ${u32(1024, 1001)}`, "call fd_write 4 @0 1 @100"),
    errno: 51,
  },
  {
    key: "fileSize",
    of: "by its size",
    limits: { fileBytes: 1000 },
    below: (limits) => script(limits, ...opened("f"), "call fd_filestat_set_size 4 1000"),
    above: (limits) => script(limits, ...opened("f"), "call fd_filestat_set_size 4 1001"),
    errno: 22,
  },
  {
    key: "fileSize",
    of: "by a write",
    limits: { fileBytes: 1000 },
    below: (limits) =>
      script(limits, ...opened("f"), `set 0 ${u32(1024, 1000)}`, "call fd_pwrite 4 @0 1 0 @100"),
    above: (limits) =>
      script(limits, ...opened("f"), `set 0 ${u32(1024, 1000)}`, "call fd_pwrite 4 @0 1 1 @100"),
    errno: 22,
  },
  {
    key: "fileCount",
    limits: { fileCount: 3 },
    below: (limits) => script(limits, ...created(3)),
    above: (limits) => script(limits, ...created(4)),
    errno: 51,
  },
  {
    key: "descriptors",
    // The standard streams, /d, and two more.
    limits: { descriptors: 6 },
    below: (limits) => script(limits, ...opened("a"), ...opened("b")),
    above: (limits) => script(limits, ...opened("a"), ...opened("b"), ...opened("c")),
    errno: 33,
  },
  {
    key: "pathLength",
    limits: { pathBytes: 100 },
    below: (limits) => script(limits, ...opened("a".repeat(100))),
    above: (limits) => script(limits, ...opened("a".repeat(101))),
    errno: 37,
  },
  {
    key: "pathDepth",
    of: "of a path",
    limits: { pathDepth: 5 },
    below: (limits) => script(limits, ...created(1), ...opened("f0/../f0/../b")),
    above: (limits) => script(limits, ...created(1), ...opened("f0/../f0/../f0/b")),
    errno: 37,
  },
  {
    key: "pathDepth",
    of: "of folders",
    limits: { pathDepth: 4 },
    below: (limits) => script(limits, ...nested(3)),
    above: (limits) => script(limits, ...nested(4)),
    errno: 37,
  },
  {
    key: "arguments",
    limits: { argumentBytes: 100 },
    below: (limits) =>
      run({ bytes: moduleOf({}), name: "it" }, limits, { arguments: ["a".repeat(99)] }),
    above: (limits) =>
      run({ bytes: moduleOf({}), name: "it" }, limits, { arguments: ["a".repeat(100)] }),
    value: "101",
  },
  {
    key: "random",
    limits: { randomBytes: 100 },
    below: (limits) => script(limits, "call random_get @0 60", "call random_get @0 40"),
    above: (limits) => script(limits, "call random_get @0 60", "call random_get @0 41"),
    value: "101",
  },
  {
    key: "httpRequests",
    limits: { httpRequests: 3 },
    below: (limits) => asking(limits, 3),
    above: (limits) => asking(limits, 4),
    value: "4",
  },
  {
    key: "httpBytes",
    // A response has a little more than 1,000 bytes, and a request some tens.
    limits: { httpBytes: 4000 },
    below: (limits) => asking(limits, 2),
    above: (limits) => asking(limits, 4),
  },
  {
    key: "moduleSize",
    limits: { moduleBytes: moduleOf({}).length },
    below: (limits) => built(limits, {}),
    above: (limits) => built(limits, { globals: 1 }),
  },
  ...(
    [
      ["moduleFunctions", "functions", 5],
      ["moduleLocals", "locals", 50],
      ["moduleTypes", "types", 5],
      ["moduleImports", "imports", 5],
      ["moduleExports", "exports", 5],
      ["moduleGlobals", "globals", 5],
      ["moduleSegments", "segments", 5],
    ] as const
  ).map(([key, part, most]): Case => ({
    key,
    limits: { [ceilings[key].field]: most },
    below: (limits) => built(limits, { [part]: most }),
    above: (limits) => built(limits, { [part]: most + 1 }),
    value: String(most + 1),
  })),
];

describe("a ceiling is not felt just below it, and named just above it", () => {
  for (const { key, of, limits: own, below, above, errno, value } of cases) {
    const { code, field } = ceilings[key];
    const limits = { ...defaultLimits, timeMs: 20_000, ...own };
    test(`${key}${of === undefined ? "" : `, ${of}`}`, async () => {
      const well = await below(limits);
      assert.equal(well.failure, undefined);
      assert.deepEqual(well.result?.limitsReached, []);
      assert.ok(well.result?.kind === "exited" && well.result.exitCode === 0);
      if (errno !== undefined) assert.deepEqual(new Set(well.answers), new Set(["0"]));

      const ill = await above(limits);
      const ceiling = formatLimit(key, limits[field]);
      if (errno === undefined) {
        assert.ok(ill.failure, JSON.stringify(ill.answers));
        assert.equal(ill.failure.code, code);
        assert.ok(ill.failure.message.endsWith(`; the ceiling is ${ceiling}`), ill.failure.message);
        if (value !== undefined) assert.match(ill.failure.message, new RegExp(`\\b${value}\\b`));
        assert.match(ill.failure.hint ?? "", new RegExp(`Raise limits\\.${key} `));
      } else {
        assert.ok(ill.answers.includes(String(errno)), String(ill.answers));
        assert.deepEqual(ill.result?.limitsReached, [key]);
      }
    });
  }
});

test("memory: a guest cannot grow above its ceiling", async () => {
  const limits = { ...defaultLimits, memoryBytes: 4 * page };
  const well = await built(limits, { body: growing(3) });
  assert.ok(well.result?.kind === "exited");
  assert.equal(well.result.usage.memoryBytes, 4 * page);
  const ill = await built(limits, { body: growing(4) });
  assert.ok(ill.result?.kind === "trapped");
  assert.equal(ill.result.usage.memoryBytes, page);
});

test("stack: a recursion that is too deep for one stack fits a larger one", async () => {
  const recursing = (depth: number, stackBytes: number): Promise<Outcome> =>
    built({ ...defaultLimits, stackBytes }, { locals: 1, pages: 4, body: calling(depth) });
  const [small, large] = [1 << 20, 16 << 20];
  const well = await recursing(40_000, large);
  assert.equal(well.failure, undefined);
  assert.ok(well.result?.kind === "exited");
  const ill = await recursing(40_000, small);
  assert.equal(ill.failure?.code, ceilings.stack.code);
  assert.match(ill.failure?.message ?? "", /; the ceiling is 1Mi$/);
  assert.match(ill.failure?.hint ?? "", /Raise limits\.stack in the file for --config/);
  assert.equal((await recursing(Infinity, large)).failure?.code, ceilings.stack.code);
});

test("compileTime: a module that takes longer is refused", async () => {
  const large: Source = { path: resolve(guests, "go/tried.wasm") };
  const well = await engine.load(large, { limits: defaultLimits });
  assert.ok(well.compileMs > 1);
  const limits = { ...defaultLimits, compileMs: 1, memoryBytes: 300 * page };
  await assert.rejects(engine.load(large, { limits }), (thrown) => {
    assert.ok(thrown instanceof Failure);
    assert.equal(thrown.code, ceilings.compileTime.code);
    assert.match(thrown.message, /"tried\.wasm" .*; the ceiling is 1ms$/);
    assert.match(thrown.hint ?? "", /Raise limits\.compileTime in the file for --config/);
    return true;
  });
});

test("sandboxes: further guests wait, and when ten times as many wait the next is refused", async () => {
  const limits = { ...defaultLimits, sandboxes: 1 };
  const start = performance.now();
  const sleepers = Array.from({ length: 15 }, () => script(limits, ...asleep(30)));
  const outcomes = await Promise.all(sleepers);
  // One after the other, where two threads had room for thousands that sleep.
  assert.ok(performance.now() - start > 10 * 30);
  const refused = outcomes.filter(({ failure }) => failure !== undefined);
  assert.ok(refused.length > 0);
  for (const { failure } of refused) assert.equal(failure?.code, ceilings.sandboxes.code);
  assert.match(refused[0]?.failure?.message ?? "", /^10 guests wait .*; the ceiling is 1$/);
  assert.equal(refused[0]?.failure?.retryable, true);
});

test("every ceiling is here or in the file beside", () => {
  const tested = new Set<string>(cases.map(({ key }) => key));
  // `logLines` is about the log, which a task keeps: `results.test.ts`.
  for (const key of ["stack", "compileTime", "sandboxes", "logLines"]) tested.add(key);
  assert.deepEqual([...tested].toSorted(), Object.keys(ceilings).toSorted());
});
