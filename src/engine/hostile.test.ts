import assert from "node:assert/strict";
import { resolve } from "node:path";
import { after, describe, test } from "node:test";
import { Failure } from "../errors/mod.ts";
import { defaultLimits, type Limits } from "../limits/mod.ts";
import {
  constant,
  header,
  i32,
  i64,
  leb,
  list,
  section,
  text,
  type,
  type Bytes,
} from "../../test/hostile/assemble.ts";
import { createEngine, type Result, type RunOptions } from "./mod.ts";

// Guests that want the host's memory, or more of it than they were given; each was a way through before it was a test.
const engine = createEngine({ threads: 1 });
after(() => engine[Symbol.asyncDispose]());

interface Asked extends RunOptions {
  readonly stdin?: string;
  readonly collect?: readonly string[];
  readonly limits?: Partial<Limits>;
}

async function run(source: Uint8Array | "call", asked: Asked = {}): Promise<Result> {
  const limits = { ...defaultLimits, timeMs: 20_000, ...asked.limits };
  const path = resolve(import.meta.dirname, "../../test/guests/call/call.wasm");
  const module = await engine.load(source === "call" ? { path } : { bytes: source, name: "it" });
  return engine.run(
    module,
    {
      arguments: ["it"],
      environment: new Map(),
      stdin: Buffer.from(asked.stdin ?? ""),
      mounts: [
        { path: "/d", readOnly: false, content: { kind: "directory", entries: [] } },
        { path: "/other", readOnly: false, content: { kind: "directory", entries: [] } },
      ],
      preopens: ["/d"],
      collect: asked.collect ?? [],
      limits,
    },
    asked,
  );
}

function codeOf(result: Result): string {
  return "failure" in result ? result.failure.code : result.kind;
}

interface Wasm {
  /** Of the one import, when there is one. */
  readonly imported?: readonly [name: string, type: Bytes];
  readonly pages?: number;
  readonly tag?: boolean;
  readonly locals?: Bytes;
  readonly body: Bytes;
}

/** A module with one function without parameters, `_start`. */
function wasm({ imported, pages = 1, tag, locals = [0], body }: Wasm): Buffer {
  const code = [...locals, ...body, 0x0b];
  const from = text("wasi_snapshot_preview1");
  return Buffer.from([
    ...header,
    ...section(1, list([type([], []), ...(imported ? [imported[1]] : [])])),
    ...(imported ? section(2, list([[...from, ...text(imported[0]), 0, 1]])) : []),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, ...leb(pages)]),
    ...(tag ? section(13, [1, 0, 0]) : []),
    ...section(7, list([[...text("_start"), 0, imported ? 1 : 0], [...text("memory"), 2, 0]])),
    ...section(10, list([[...leb(code.length), ...code]])),
  ]); // prettier-ignore
}
/** Calls the import and catches whatever comes out of it. */
const caught = (...call: Bytes): Bytes => [0x06, 0x40, ...call, 0x19, 0x0b];

describe("a guest that catches what ends it has ended", () => {
  test("by its first exit code", async () => {
    const exit = (code: number): Bytes => caught(...constant(code), 0x10, 0);
    const imported = ["proc_exit", type([i32], [])] as const;
    const result = await run(wasm({ imported, body: [...exit(3), ...exit(4)] }));
    assert.ok(result.kind === "exited");
    assert.equal(result.exitCode, 3);
  });

  test("by the ceiling of its output, of which one message carries what fits and no more", async () => {
    const write = caught(...constant(1), ...constant(0), ...constant(1), ...constant(16), 0x10, 0, 0x1a);
    // The vector at 0: 1 MiB from address 64; then the write 50 times over.
    const vector = [...constant(0), ...constant(64), 0x36, 2, 0, ...constant(4), ...constant(1 << 20), 0x36, 2, 0];
    const loop = [0x03, 0x40, ...write, 0x20, 0, ...constant(1), 0x6a, 0x22, 0, ...constant(50), 0x49, 0x0d, 0, 0x0b];
    const sent: number[] = [];
    const result = await run(
      wasm({
        imported: ["fd_write", type([i32, i32, i32, i32], [i32])],
        pages: 20,
        locals: [1, 1, i32],
        body: [...vector, ...loop],
      }),
      {
        limits: { outputBytes: 1000 },
        onOutput: (_stream, bytes) => sent.push(bytes.buffer.byteLength),
      },
    );
    assert.equal(codeOf(result), "limit-output");
    assert.equal(result.stdout.length, 1000);
    assert.deepEqual(sent, [1000]);
  }); // prettier-ignore
});

test("an exception that nobody catches is a trap", async () => {
  const result = await run(wasm({ tag: true, body: [0x08, 0] }));
  assert.ok(result.kind === "trapped");
  assert.equal(result.message, "uncaught exception");
});

describe("an import with a signature of its own is the module's mistake", () => {
  const cases: readonly (readonly [string, string, Bytes, Bytes])[] = [
    ["a result of 64 bits", "fd_close", type([i32], [i64]), [...constant(9), 0x10, 0, 0x1a]],
    ["a function as result", "fd_close", type([i32], [0x70]), [...constant(9), 0x10, 0, 0x1a]],
    ["two results", "poll_oneoff", type([], [i32, i32]), [0x10, 0, 0x1a, 0x1a]],
  ];
  for (const [what, name, signature, body] of cases) {
    test(what, async () => {
      const result = await run(wasm({ imported: [name, signature], body }));
      assert.equal(codeOf(result), "module-import");
    });
  }
});

describe("what would lie in V8's heap", () => {
  const refused = async (bytes: Uint8Array, message: RegExp): Promise<void> => {
    await assert.rejects(engine.load({ bytes, name: "it" }), (thrown) => {
      assert.ok(thrown instanceof Failure);
      assert.equal(thrown.code, "module-unsupported");
      assert.match(thrown.message, message);
      return true;
    });
  };
  test("arrays and structs, one of which could end the process, are refused", async () => {
    for (const made of [
      [0x5e, 0x78, 1],
      [0x5f, 0],
      [0x4e, 1, 0x5f, 0],
      [0x50, 0, 0x5f, 0],
    ]) {
      const bytes = Buffer.from([...header, ...section(1, list([made]))]);
      await refused(bytes, /a type of a kind/);
    }
  });
});

test("compiled modules are kept up to 256 MiB of them, and no longer", async () => {
  const sized = async (fill: number) => {
    const name = text(String.fromCodePoint(fill));
    const custom = Buffer.alloc(50 * 1024 * 1024, fill);
    const size = custom.length + name.length;
    const head = Buffer.from([0, ...leb(size), ...name]);
    const bytes = Buffer.concat([wasm({ body: [] }), head, custom]);
    return engine.load({ bytes, name: "large" });
  };
  const first = await sized(65);
  assert.equal(await sized(65), first);
  // The fifth is the last that fits beside it; with the sixth, what was not used for the longest time goes.
  for (let other = 66; other <= 70; other++) await sized(other);
  assert.notEqual(await sized(65), first);
});

test("a function's name of megabytes does not become a trap's text 60 times over", async () => {
  const named = (length: number, count: Bytes = [1]): Buffer => {
    const names = [...count, 0, ...leb(length), ...Buffer.alloc(length, "A")];
    const content = [...text("name"), 1, ...leb(names.length), ...names];
    // It calls itself a hundred times, and traps.
    const deeper = [...constant(0), ...constant(0), 0x28, 2, 0, ...constant(1), 0x6a, 0x36, 2, 0];
    const enough = [...constant(0), 0x28, 2, 0, ...constant(100), 0x4b, 0x04, 0x40, 0x00, 0x0b];
    return Buffer.concat([
      wasm({ body: [...deeper, ...enough, 0x10, 0] }),
      Buffer.from(section(0, content)),
    ]);
  };
  const long = await run(named(16_384));
  assert.ok(long.kind === "trapped");
  assert.equal(long.stack[0]?.length, 16_384);
  for (const module of [named(16_385), named(60_000), named(16_385, [0x81, 0])]) {
    const result = await run(module);
    assert.ok(result.kind === "trapped");
    assert.equal(result.stack[0], "wasm-function[0]");
  }
});

describe("the tree", () => {
  const hex = (value: string): string => Buffer.from(value).toString("hex");
  const script = (steps: readonly string[]): { readonly stdin: string } => ({
    stdin: `${steps.join("\n")}\n`,
  });
  const answers = (result: Result): string[] => {
    assert.equal(result.kind, "exited", codeOf(result));
    return Buffer.from(result.stdout).toString().trimEnd().split("\n");
  };
  /** Folders in one another, each opened from the one before. */
  const nested = (depth: number): string[] => {
    const steps = [`set 1000 ${hex("d")}`];
    for (let index = 0, at = 3; index < depth; index++) {
      const next = at === 4 ? 5 : 4;
      steps.push(`call path_create_directory ${at} @1000 1`);
      steps.push(`call path_open ${at} 0 @1000 1 2 0 0 0 @900`);
      if (at !== 3) steps.push(`call fd_close ${at}`);
      at = next;
    }
    return steps;
  };

  test("hands out folders in folders as deep as a system's paths go, and no deeper", async () => {
    const asked = { collect: ["/d"], limits: { pathDepth: 3000 } };
    const deep = await run("call", { ...script(nested(2048)), ...asked });
    const [first] = deep.collected;
    assert.ok(first?.kind === "directory");
    assert.equal(first.entries.at(-1)?.path.length, 4095);
    const deeper = await run("call", { ...script(nested(2049)), ...asked });
    assert.equal(codeOf(deeper), "output-too-large");
  });

  test("hands out 64 MiB of paths and no more", async () => {
    const name = "n".repeat(250);
    const steps = nested(1).concat(`set 2000 ${hex(name)}`);
    // Fifteen long names in one another, and so many files at the end that their paths are too long together.
    let at = 4;
    for (let index = 0; index < 15; index++) {
      const next = at === 4 ? 5 : 4;
      steps.push(`call path_create_directory ${at} @2000 250`);
      steps.push(`call path_open ${at} 0 @2000 250 2 0 0 0 @900`, `call fd_close ${at}`);
      at = next;
    }
    const files = (count: number): string[] =>
      Array.from({ length: count }, (_, index) => [
        `set 3000 ${hex(String(index).padStart(8, "0"))}`,
        `call path_create_directory ${at} @3000 8`,
      ]).flat();
    const few = await run("call", { ...script([...steps, ...files(10_000)]), collect: ["/d"] });
    assert.equal(few.kind, "exited");
    const many = await run("call", { ...script([...steps, ...files(18_000)]), collect: ["/d"] });
    assert.equal(codeOf(many), "output-too-large");
    assert.match("failure" in many ? many.failure.message : "", /paths/);
  });

  test("counts a hard link as the file that it becomes", async () => {
    const steps = (links: number): string[] => [
      `set 1000 ${hex("f")}`,
      "call path_open 3 0 @1000 1 1 0x1fffffff 0 0 @900",
      "call fd_filestat_set_size 4 100000",
      ...Array.from({ length: links }, (_, index) => [
        `set 1100 ${hex(`l${index}`)}`,
        `call path_link 3 0 @1000 1 3 @1100 ${`l${index}`.length}`,
      ]).flat(),
    ];
    const limits = { filesBytes: 1_000_000 };
    const ten = await run("call", { ...script(steps(10)), collect: ["/d"], limits });
    assert.equal(ten.kind, "exited");
    const eleven = await run("call", { ...script(steps(11)), collect: ["/d"], limits });
    assert.equal(codeOf(eleven), "output-too-large");
  });

  test("holds 16 MiB of links' targets, each no longer than a path", async () => {
    const link = (index: number, length: number): string[] => [
      `set 1100 ${hex(`l${index}`)}`,
      `call path_symlink @9000 ${length} 3 @1100 ${`l${index}`.length}`,
    ];
    const steps = Array.from({ length: 4097 }, (_, index) => link(index, 4096)).flat();
    const filled = answers(
      await run("call", script([`set 9000 ${"61".repeat(4097)}`, ...link(9999, 4097), ...steps])),
    );
    assert.deepEqual([filled[0], filled[1], filled.at(-2), filled.at(-1)], ["37", "0", "0", "51"]);
  });

  test("keeps a million entries in the listings of all open directories", async () => {
    const make = Array.from({ length: 50_000 }, (_, index) => [
      `set 1100 ${hex(`l${index}`)}`,
      `call path_create_directory 3 @1100 ${`l${index}`.length}`,
    ]).flat();
    const listings = Array.from({ length: 21 }, (_, index) => [
      "call path_open 3 0 @1200 1 2 0 0 0 @900",
      `call fd_readdir ${4 + index} @2000 100 0 @900`,
    ]).flat();
    const got = answers(
      await run("call", script([...make, `set 1200 ${hex(".")}`, ...listings, "call fd_close 4", "call fd_readdir 24 @2000 100 0 @900"])),
    );
    const listed = got.slice(50_000);
    // Twenty fit; "." and ".." are nobody's to keep.
    assert.deepEqual(listed.filter((answer) => answer === "48").length, 1);
    assert.deepEqual(listed.slice(-2), ["0", "0"]);
  }); // prettier-ignore

  test("keeps files in memory that follow on many short-lived ones", async () => {
    const round = [
      "call path_open 3 0 @1000 1 1 0x1fffffff 0 0 @900",
      "call fd_filestat_set_size 4 1000000",
      "call fd_close 4",
      "call path_unlink_file 3 @1000 1",
    ];
    const steps = Array.from({ length: 60 }, () => round).flat();
    const last = ["call path_open 3 0 @1000 1 1 0x1fffffff 0 0 @900", "call fd_filestat_set_size 4 10"];
    const result = await run("call", { ...script([`set 1000 ${hex("f")}`, ...steps, ...last]), collect: ["/d/f"] });
    const [file] = result.collected;
    assert.ok(file?.kind === "file");
    assert.equal(file.content.kind, "bytes");
  }); // prettier-ignore
});
