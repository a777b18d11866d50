import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { defaultLimits, type Limits } from "../limits/mod.ts";
import { demangled } from "./stack.ts";
import { createEngine, type Mount, type Result } from "./mod.ts";

const guests = resolve(import.meta.dirname, "../../test/guests");
const probe = resolve(guests, "probe/probe.wasm");
const engine = createEngine({ threads: 2 });
after(() => engine[Symbol.asyncDispose]());

const file = (path: string, text: string, readOnly = false): Mount => ({
  path,
  readOnly,
  content: { kind: "file", mode: 0o644, content: { kind: "bytes", bytes: Buffer.from(text) } },
});

async function run(
  command: readonly string[],
  options: {
    readonly mounts?: readonly Mount[];
    readonly collect?: readonly string[];
    readonly limits?: Partial<Limits>;
    readonly signal?: AbortSignal;
    readonly stdin?: string;
    readonly environment?: ReadonlyMap<string, string>;
  } = {},
): Promise<Result> {
  const limits = { ...defaultLimits, ...options.limits };
  const module = await engine.load({ path: probe }, { limits });
  return engine.run(
    module,
    {
      arguments: ["probe", ...command],
      environment: options.environment ?? new Map(),
      stdin: Buffer.from(options.stdin ?? ""),
      mounts: options.mounts ?? [],
      collect: options.collect ?? [],
      limits,
    },
    options.signal ? { signal: options.signal } : {},
  );
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

function exited(result: Result, code = 0): string {
  assert.equal(result.kind, "exited", JSON.stringify({ ...result, stderr: text(result.stderr) }));
  if (result.kind === "exited") assert.equal(result.exitCode, code, text(result.stderr));
  return text(result.stdout);
}

describe("a guest gets what it is given and nothing else", () => {
  test("arguments, environment and stdin arrive", async () => {
    assert.equal(exited(await run(["args", "a b", "ü"])), "probe\nargs\na b\nü\n");
    assert.equal(exited(await run(["env"], { environment: new Map([["A", "b=c"]]) })), "A=b=c\n");
    assert.equal(exited(await run(["stdin"], { stdin: "given" })), "given");
    assert.equal(exited(await run(["env"])), "");
  });

  test("a file laid in can be read, and the host's files cannot", async () => {
    const mounts = [file("/tmp/doc", "letter")];
    assert.equal(exited(await run(["cat", "/tmp/doc"], { mounts })), "letter");
    for (const path of [
      "/etc/passwd",
      "/tmp/../../etc/passwd",
      "/proc/self/environ",
      "/tmp/nothing",
    ]) {
      exited(await run(["cat", path], { mounts }), 1);
    }
  });

  test("a read-only mount refuses writing, another is copied on write", async () => {
    const locked = await run(["write", "/in/a", "x"], { mounts: [file("/in/a", "old", true)] });
    exited(locked, 1);
    assert.match(text(locked.stderr), /Read-only/);
    const result = await run(["write", "/in/a", "new"], {
      mounts: [file("/in/a", "old")],
      collect: ["/in/a"],
    });
    const [collected] = result.collected;
    assert.ok(collected?.kind === "file" && collected.content.kind === "bytes");
    assert.equal(text(collected.content.bytes), "new");
  });

  test("names are listed, renamed and removed", async () => {
    const mounts = [file("/d/a", "1"), file("/d/b", "2")];
    assert.equal(exited(await run(["ls", "/d"], { mounts })), ".\n..\na\nb\n");
    const moved = await run(["rename", "/d/a", "/d/c"], { mounts, collect: ["/d"] });
    const [directory] = moved.collected;
    assert.ok(directory?.kind === "directory");
    assert.deepEqual(directory.entries.map((entry) => entry.path).toSorted(), ["b", "c"]);
    const removed = await run(["unlink", "/d/a"], { mounts, collect: ["/d/a"] });
    assert.equal(removed.collected[0]?.kind, "missing");
  });
});

describe("how a guest ends", () => {
  test("an exit code is the guest's own", async () => {
    exited(await run(["exit", "7"]), 7);
  });

  test("a trap names the guest's functions", async () => {
    const result = await run(["trap"]);
    assert.ok(result.kind === "trapped");
    assert.match(result.message, /unreachable/);
    assert.ok(
      result.stack.some((name) => name.includes("outer_trap") || name.includes("main")),
      result.stack.join(),
    );
  });

  test("names of Rust are shown as they are in the source, others stay", () => {
    const cases = [
      ["_ZN4core9panicking9panic_fmt17h768731f43edd91bfE", "core::panicking::panic_fmt"],
      ["_ZN29_$LT$t..S$u20$as$u20$t..T$GT$2go17h6d6fbbbfc457f463E", "<t::S as t::T>::go"],
      [
        "_ZN3std2rt10lang_start28_$u7b$$u7b$closure$u7d$$u7d$17hf0d936d435344f82E.llvm.7785054668975689164",
        "std::rt::lang_start::{{closure}}",
      ],
      ["_ZN3foo3barEv", "_ZN3foo3barEv"],
      ["_ZN99x17h768731f43edd91bfE", "_ZN99x17h768731f43edd91bfE"],
      ["main.(*T).Boom", "main.(*T).Boom"],
    ] as const;
    for (const [mangled, shown] of cases) assert.equal(demangled(mangled), shown);
  });

  test("an endless loop is stopped by its time limit, and the engine goes on", async () => {
    const result = await run(["loop"], { limits: { timeMs: 100 } });
    assert.ok(result.kind === "stopped");
    assert.equal(result.failure.code, "limit-time");
    assert.equal(exited(await run(["echo", "on"])), "on");
  });

  test("the caller's signal stops a loop and a sleep, running or queued", async () => {
    const stop = new AbortController();
    const guests = [["loop"], ["sleep", "100000"], ["loop"], ["loop"]].map((command) =>
      run(command, { signal: stop.signal }),
    );
    setTimeout(() => stop.abort(), 50);
    for (const result of await Promise.all(guests)) {
      assert.ok(result.kind === "stopped");
      assert.equal(result.failure.code, "aborted");
    }
  });

  test("memory.grow fails at the ceiling, which the module's own maximum cannot raise", async () => {
    const small = exited(await run(["grow"], { limits: { memoryBytes: 4 * 1024 * 1024 } }));
    const large = exited(await run(["grow"], { limits: { memoryBytes: 64 * 1024 * 1024 } }));
    assert.ok(Number(small) < 64 && Number(large) > 900, `${small} ${large}`);
  });

  test("a flood of output is stopped at its ceiling and what came before is kept", async () => {
    const result = await run(["flood"], { limits: { outputBytes: 1000 } });
    assert.ok(result.kind === "stopped");
    assert.equal(result.failure.code, "limit-output");
    assert.equal(result.stdout.length, 1000);
  });

  test("the files' ceiling holds just above and not just below", async () => {
    exited(await run(["fill", "/f", "65536"], { limits: { filesBytes: 65536 } }));
    const over = await run(["fill", "/f", "65537"], { limits: { filesBytes: 65536 } });
    exited(over, 1);
    assert.match(text(over.stderr), /No space left/);
  });

  test("a large file spills and is handed out as a file of the host", async () => {
    const result = await run(["fill", "/big", "5000000"], { collect: ["/big"] });
    exited(result);
    const [big] = result.collected;
    assert.ok(big?.kind === "file" && big.content.kind === "slice");
    assert.equal(readFileSync(big.content.path).length, 5_000_000);
  });
});

describe("bytes that are no module", () => {
  const cases: readonly (readonly [string, Uint8Array, string])[] = [
    ["text", Buffer.from("(module)"), "module-invalid"],
    ["nothing", Buffer.alloc(0), "module-invalid"],
    ["a component", Buffer.from("0061736d0d000100", "hex"), "module-component"],
    ["a truncated module", readFileSync(probe).subarray(0, 5000), "module-invalid"],
    ["a damaged module", Buffer.from("0061736d010000000103600000", "hex"), "module-invalid"],
  ];
  for (const [name, bytes, code] of cases) {
    test(`${name} is refused with a code`, async () => {
      await assert.rejects(engine.load({ bytes, name: "it" }), { code });
    });
  }

  test("a missing file is refused with its path", async () => {
    await assert.rejects(engine.load({ path: "/nowhere/x.wasm" }), {
      code: "module-not-found",
      message: /nowhere/,
    });
  });

  test("a missing import is named", async () => {
    // (module (import "env" "f" (func)) (func (export "_start")))
    const bytes = Buffer.from(
      "0061736d01000000010401600000020901" +
        "03656e7601660000" +
        "0302010007" +
        "0a01065f73746172740001" +
        "0a040102000b",
      "hex",
    );
    const module = await engine.load({ bytes, name: "it" });
    const result = await engine.run(module, {
      arguments: ["it"],
      environment: new Map(),
      mounts: [],
      collect: [],
      limits: defaultLimits,
    });
    assert.ok(result.kind === "failed");
    assert.equal(result.failure.code, "module-import");
    assert.match(result.failure.message, /env\.f/);
  });
});

test("a module file that has changed is loaded anew, however often it was loaded before", async () => {
  const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
  try {
    const path = join(folder, "step.wasm");
    copyFileSync(probe, path);
    // A file that was changed within the last second is read each time.
    await sleep(1100);
    const first = await engine.load({ path });
    assert.equal(await engine.load({ path }), first);
    copyFileSync(resolve(guests, "hello/hello.wasm"), path);
    assert.notEqual((await engine.load({ path })).digest, first.digest);
    await sleep(1100);
    assert.notEqual((await engine.load({ path })).digest, first.digest);
    rmSync(path);
    await assert.rejects(engine.load({ path }), { code: "module-not-found" });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("as many threads are started as guests wait, up to the engine's number", async () => {
  let threads = 0;
  const count = (): void => void threads++;
  process.on("worker", count);
  try {
    await using own = createEngine({ threads: 2 });
    const module = await own.load({ path: probe });
    const echo = (): Promise<Result> =>
      own.run(module, {
        arguments: ["probe", "echo", "x"],
        environment: new Map(),
        mounts: [],
        collect: [],
        limits: defaultLimits,
      });
    await echo();
    await echo();
    assert.equal(threads, 1);
    await Promise.all([echo(), echo(), echo()]);
    assert.equal(threads, 2);
  } finally {
    process.off("worker", count);
  }
});
