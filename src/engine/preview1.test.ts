import assert from "node:assert/strict";
import { resolve } from "node:path";
import { after, describe, test } from "node:test";
import { defaultLimits } from "../limits/mod.ts";
import { createEngine, type Mount } from "./mod.ts";

// A guest that calls any preview 1 function with any numbers (test/guests/call/call.c): each step is a line, and each call
// answers its errno, each look at memory its bytes. Memory is scratch of the guest at @0, @1, ….
const guest = resolve(import.meta.dirname, "../../test/guests/call/call.wasm");
const engine = createEngine({ threads: 1 });
after(() => engine[Symbol.asyncDispose]());

const errno = {
  ok: 0, badf: 8, exist: 20, fault: 21, ilseq: 25, inval: 28, isdir: 31, noent: 44, nospc: 51,
  notdir: 54, notempty: 55, notsock: 57, notsup: 58, perm: 63, rofs: 69, spipe: 70,
}; // prettier-ignore

const u32 = (...values: readonly number[]): string => {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, index * 4);
  return bytes.toString("hex");
};
const u64 = (value: bigint): string => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes.toString("hex");
};
const hex = (text: string): string => Buffer.from(text).toString("hex");

const mounts: readonly Mount[] = [
  {
    path: "/d",
    readOnly: false,
    content: {
      kind: "directory",
      entries: [
        {
          kind: "file",
          path: "f",
          mode: 0o644,
          content: { kind: "bytes", bytes: Buffer.from("0123456789") },
        },
        { kind: "directory", path: "full", mode: 0o755 },
        {
          kind: "file",
          path: "full/x",
          mode: 0o644,
          content: { kind: "bytes", bytes: Buffer.from("x") },
        },
        { kind: "symlink", path: "link", target: "f" },
      ],
    },
  },
  {
    path: "/ro",
    readOnly: true,
    content: {
      kind: "directory",
      entries: [
        {
          kind: "file",
          path: "f",
          mode: 0o644,
          content: { kind: "bytes", bytes: Buffer.from("ro") },
        },
      ],
    },
  },
];

/** Runs the steps; `memory` is the guest's first address of scratch, for pointers inside of structures. */
async function call(...steps: readonly string[]): Promise<string[]> {
  const module = await engine.load({ path: guest });
  const result = await engine.run(module, {
    arguments: ["call"],
    environment: new Map(),
    stdin: Buffer.from(`${steps.join("\n")}\n`),
    mounts,
    preopens: ["/d", "/ro"],
    collect: [],
    limits: { ...defaultLimits, filesBytes: 100_000, timeMs: 10_000 },
  });
  const text = Buffer.from(result.stdout).toString();
  assert.equal(result.kind, "exited", `${JSON.stringify(result)} after ${text}`);
  return text.trimEnd().split("\n");
}

/** The address of scratch byte 0, which structures that hold pointers need. */
const base = await (async () => {
  // The first line of `args_get` writes a pointer into the buffer it was given.
  const [, pointer = ""] = await call("call args_get @0 @4096", "get 0 4");
  return Buffer.from(pointer, "hex").readUInt32LE() - 4096;
})();

/** One buffer at scratch byte `at`, described by the eight bytes at `where`. */
const vector = (where: number, at: number, length: number): string =>
  `set ${where} ${u32(base + at, length)}`;
const name = (text: string): string => `set 1000 ${hex(text)}`;
/** Opens a name below /d (descriptor 3) for reading and writing; the answer is descriptor 5. */
const open = (text: string, oflags = 0): readonly string[] => [
  name(text),
  `call path_open 3 0 @1000 ${text.length} ${oflags} 0x1fffffff 0x1fffffff 0 @900`,
];

describe("every pointer outside of the guest's memory is answered with fault", () => {
  const far = 0xffff_fff0;
  const calls = [
    `args_get ${far} @0`, `args_sizes_get ${far} @0`, `environ_sizes_get @0 ${far}`,
    `clock_res_get 0 ${far}`, `clock_time_get 0 0 ${far}`, `random_get ${far} 8`, `random_get @0 0xffffffff`,
    `fd_fdstat_get 1 ${far}`, `fd_filestat_get 1 ${far}`, `fd_prestat_get 3 ${far}`,
    `fd_prestat_dir_name 3 ${far} 2`, `fd_read 0 ${far} 1 @0`, `fd_read 0 @0 0 ${far}`,
    `fd_write 1 ${far} 1 @0`, `fd_write 1 @0 0 ${far}`, `fd_readdir 3 ${far} 100 0 @0`,
    `fd_readdir 3 @0 100 0 ${far}`, `path_open 3 0 ${far} 5 0 2 0 0 @0`,
    `path_create_directory 3 ${far} 5`, `path_filestat_get 3 0 ${far} 5 @0`,
    `path_rename 3 ${far} 5 3 @0 1`, `path_link 3 0 ${far} 5 3 @0 1`,
    `path_symlink ${far} 5 3 @0 1`, `path_readlink 3 ${far} 5 @0 1 @8`, `path_unlink_file 3 ${far} 5`,
    `poll_oneoff ${far} @0 1 @0`, `poll_oneoff @0 ${far} 1 @100`, `poll_oneoff @0 @100 1 ${far}`,
  ]; // prettier-ignore
  test(`${calls.length} calls`, async () => {
    const answers = await call(...calls.map((line) => `call ${line}`));
    assert.deepEqual(
      answers,
      calls.map(() => String(errno.fault)),
      JSON.stringify(answers),
    );
  });

  test("a vector that points outside, and a pointer that wraps around", async () => {
    const answers = await call(
      `set 0 ${u32(0xffff_0000, 16)}`, "call fd_write 1 @0 1 @100", "call fd_read 0 @0 1 @100",
      `set 0 ${u32(base, 0xffff_ffff)}`, "call fd_write 1 @0 1 @100",
    ); // prettier-ignore
    assert.deepEqual(answers.map(Number), [errno.fault, errno.fault, errno.fault]);
  });

  test("nothing is read or written when the place of the count is outside", async () => {
    const [opened, , failed, told, position] = await call(
      ...open("f"), vector(0, 2000, 4), "call fd_tell 5 @3000",
      "call fd_read 5 @0 1 0xfffffff0", "call fd_tell 5 @3000", "get 3000 1",
    ); // prettier-ignore
    assert.deepEqual([opened, failed, told, position], ["0", String(errno.fault), "0", "00"]);
  });
});

describe("what the standard libraries rely on", () => {
  test("fd_pread and fd_pwrite leave the position alone; fd_allocate grows; the advice is checked", async () => {
    const answers = await call(
      ...open("f"), vector(0, 2000, 3), "call fd_pread 5 @0 1 4 @100", "get 2000 3",
      `set 2000 ${hex("abc")}`, "call fd_pwrite 5 @0 1 9 @100", "call fd_tell 5 @3000", "get 3000 1",
      "call fd_filestat_get 5 @3000", "get 3032 1", "call fd_allocate 5 0 20", "call fd_filestat_get 5 @3000",
      "get 3032 1", "call fd_allocate 5 0 200000", "call fd_allocate 5 -1 5", "call fd_advise 5 0 0 3",
      "call fd_advise 5 0 0 9", "call fd_sync 5", "call fd_datasync 5", "call fd_sync 77",
      "call fd_pread 5 @0 1 -1 @100", "call fd_pread 3 @0 1 0 @100",
    ); // prettier-ignore
    assert.deepEqual(answers, [
      "0", "0", hex("456"), "0", "0", "00", "0", "0c", "0", "0", "14", String(errno.nospc),
      String(errno.inval), "0", String(errno.inval), "0", "0", String(errno.badf), String(errno.inval), String(errno.badf),
    ]); // prettier-ignore
  });

  test("fd_seek goes to every base, not below zero, and not on a stream", async () => {
    const answers = await call(
      ...open("f"), "call fd_seek 5 -2 2 @3000", "get 3000 1", "call fd_seek 5 1 1 @3000", "get 3000 1",
      "call fd_seek 5 -100 1 @3000", "call fd_seek 5 0 3 @3000", "call fd_seek 1 0 0 @3000", "call fd_seek 5 50 0 @3000",
      vector(0, 2000, 3), "call fd_read 5 @0 1 @100", "get 100 4",
    ); // prettier-ignore
    assert.deepEqual(answers, [
      "0", "0", "08", "0", "09", String(errno.inval), String(errno.inval), String(errno.spipe), "0", "0", u32(0),
    ]); // prettier-ignore
  });

  test("fd_fdstat_set_flags: append holds for the next write; streams take what holds for them already", async () => {
    const answers = await call(
      ...open("f"), "call fd_fdstat_set_flags 5 1", `set 2000 ${hex("X")}`, vector(0, 2000, 1),
      "call fd_write 5 @0 1 @100", "call fd_filestat_get 5 @3000", "get 3032 1", "call fd_fdstat_get 5 @3000", "get 3002 2",
      "call fd_fdstat_set_flags 1 4", "call fd_fdstat_set_flags 5 64", "call fd_fdstat_set_flags 3 1",
    ); // prettier-ignore
    assert.deepEqual(answers, [
      "0", "0", "0", "0", "0b", "0", "0100", "0", String(errno.inval), String(errno.badf),
    ]); // prettier-ignore
  });

  test("times: set to a value, to now, to nothing, and never to two things", async () => {
    const at = 1_700_000_000_123_456_000n;
    const answers = await call(
      ...open("f"), `call fd_filestat_set_times 5 0 ${at} 4`, "call fd_filestat_get 5 @3000", "get 3048 8",
      name("f"), `call path_filestat_set_times 3 0 @1000 1 0 ${at + 1_000_000_000n} 4`, "call path_filestat_get 3 0 @1000 1 @3000",
      "get 3048 8", "call fd_filestat_set_times 5 0 0 12", "call fd_filestat_set_times 5 0 0 3", "call fd_filestat_set_times 1 0 0 8",
    ); // prettier-ignore
    assert.deepEqual(answers, [
      "0", "0", "0", u64(at), "0", "0", u64(at + 1_000_000_000n), String(errno.inval), String(errno.inval), String(errno.badf),
    ]); // prettier-ignore
  });

  test("fd_readdir goes on at any cookie and through any size of buffer", async () => {
    const [, first = ""] = await call("call fd_readdir 3 @0 4096 0 @5000", "get 0 200");
    const bytes = Buffer.from(first, "hex");
    const names: string[] = [];
    const cookies: bigint[] = [];
    for (let at = 0; names.length < 5;) {
      const length = bytes.readUInt32LE(at + 16);
      cookies.push(bytes.readBigUInt64LE(at));
      names.push(bytes.toString("utf8", at + 24, at + 24 + length));
      at += 24 + length;
    }
    assert.deepEqual(names, [".", "..", "f", "full", "link"]);
    const answers = await call(
      `call fd_readdir 3 @0 4096 ${cookies[2]} @5000`, "get 24 4", "call fd_readdir 3 @0 30 0 @5000", "get 5000 4",
      `call fd_readdir 3 @0 4096 ${cookies[4]} @5000`, "get 5000 4", "call fd_readdir 3 @0 4096 -1 @5000", "call fd_readdir 1 @0 4096 0 @5000",
    ); // prettier-ignore
    assert.deepEqual(answers, [
      "0", hex("full"), "0", u32(30), "0", u32(0), "0", String(errno.badf),
    ]); // prettier-ignore
  });

  test("a folder that is emptied while it is read through a small buffer shows every name once", async () => {
    const names = Array.from({ length: 60 }, (_, index) => `n${String(index).padStart(2, "0")}`);
    const made = names.flatMap((name) => [
      `set 1000 ${hex(`full/${name}`)}`, "call path_open 3 0 @1000 8 1 64 0 0 @900", "call fd_close 6",
    ]); // prettier-ignore
    // An entry with a name of three bytes has 27; "." and "..", then "x", come first.
    const reads = names.flatMap((name, index) => [
      `call fd_readdir 5 @0 27 ${index + 3} @5000`, "get 24 3",
      `set 1000 ${hex(`full/${name}`)}`, "call path_unlink_file 3 @1000 8",
    ]); // prettier-ignore
    const answers = await call(
      `set 1000 ${hex("full")}`, "call path_open 3 0 @1000 4 2 16384 0 0 @900", ...made, "call fd_readdir 5 @0 76 0 @5000",
      ...reads, "call fd_readdir 5 @0 100 63 @5000", "get 5000 4", "call fd_readdir 5 @0 100 0 @5000", "get 5000 4",
    ); // prettier-ignore
    const shown = answers.slice(2 + names.length * 2, -4);
    assert.deepEqual(
      shown,
      names.flatMap((name) => ["0", hex(name), "0"]),
    );
    // What is left: ".", ".." and "x".
    assert.deepEqual(answers.slice(-4), ["0", u32(0), "0", u32(76)]);
  });

  test("rename, link and unlink answer as POSIX does", async () => {
    const to = (text: string): string => `set 1100 ${hex(text)}`;
    const rename = (from: string, target: string): readonly string[] => [
      name(from), to(target), `call path_rename 3 @1000 ${from.length} 3 @1100 ${target.length}`,
    ]; // prettier-ignore
    const link = (from: string, target: string): readonly string[] => [
      name(from), to(target), `call path_link 3 0 @1000 ${from.length} 3 @1100 ${target.length}`,
    ]; // prettier-ignore
    const cases: readonly (readonly [readonly string[], number])[] = [
      [rename("f", "full"), errno.isdir],
      [rename("full", "f"), errno.notdir],
      [rename("full", "full/in"), errno.inval],
      [rename("f/", "g"), errno.notdir],
      [rename("f", "f"), errno.ok],
      [rename("none", "g"), errno.noent],
      [rename("f", "../g"), errno.perm],
      [link("f", "hard"), errno.ok],
      [link("f", "hard"), errno.exist],
      [link("full", "hard2"), errno.perm],
      [link("f", "new/"), errno.noent],
      [[name("full"), "call path_remove_directory 3 @1000 4"], errno.notempty],
      [[name("full"), "call path_unlink_file 3 @1000 4"], errno.isdir],
      [[name("f"), "call path_remove_directory 3 @1000 1"], errno.notdir],
      [[name("f"), "call path_unlink_file 4 @1000 1"], errno.rofs],
      [[name("f"), "call path_unlink_file 3 @1000 1"], errno.ok],
      [rename("hard", "f"), errno.ok],
      [rename("link", "link2"), errno.ok],
      [["call path_remove_directory 3 @1000 0"], errno.noent],
    ];
    const answers = await call(...cases.flatMap(([steps]) => steps));
    assert.deepEqual(
      answers.map(Number),
      cases.map(([, wanted]) => wanted),
    );
  });

  test("a name that is not UTF-8 is refused, one that is not ASCII is not", async () => {
    const answers = await call(
      "set 1000 fffe", "call path_create_directory 3 @1000 2", "call path_filestat_get 3 0 @1000 2 @0",
      `set 1000 ${hex("ü€")}`, "call path_create_directory 3 @1000 5", "call path_filestat_get 3 0 @1000 5 @0",
      "set 1000 610062", "call path_create_directory 3 @1000 3",
    ); // prettier-ignore
    assert.deepEqual(answers.map(Number), [errno.ilseq, errno.ilseq, 0, 0, errno.inval]);
  });

  test("fd_renumber closes what it replaces; closed and unknown descriptors are badf", async () => {
    const answers = await call(
      ...open("f"), ...open("full/x"), "call fd_renumber 5 6", "call fd_tell 5 @0", "call fd_filestat_get 6 @3000", "get 3032 1",
      "call fd_renumber 6 6", "call fd_close 6", "call fd_close 6", "call fd_renumber 6 3", "call fd_read 99 @0 0 @8",
    ); // prettier-ignore
    assert.deepEqual(answers, [
      "0", "0", "0", String(errno.badf), "0", "0a", "0", "0", String(errno.badf), String(errno.badf), String(errno.badf),
    ]); // prettier-ignore
  });

  test("sockets and signals are refused by number; yielding and randomness work", async () => {
    const answers = await call(
      "call sock_accept 1 0 @0", "call sock_recv 3 @0 0 0 @0 @8", "call sock_send 1 @0 0 0 @0", "call sock_shutdown 77 0",
      "call proc_raise 6", "call sched_yield", "call random_get @0 16", "get 0 16",
      "call random_get @0 0",
    ); // prettier-ignore
    const random = answers.splice(7, 1)[0];
    assert.notEqual(random, "00".repeat(16));
    assert.deepEqual(answers.map(Number), [
      errno.notsock, errno.notsock, errno.notsock, errno.badf, errno.notsup, 0, 0, 0,
    ]); // prettier-ignore
  });

  test("a read-only folder refuses every change", async () => {
    const answers = await call(
      name("n"), "call path_create_directory 4 @1000 1", "call path_open 4 0 @1000 1 1 0x1fffffff 0 0 @900",
      `set 1100 ${hex("t")}`, "call path_symlink @1100 1 4 @1000 1", name("f"),
      "call path_open 4 0 @1000 1 0 0x1fffffff 0 0 @900", "call path_open 4 0 @1000 1 8 2 0 0 @900",
      "call path_filestat_set_times 4 0 @1000 1 0 0 8", "call path_rename 4 @1000 1 3 @1100 1", "call path_open 4 0 @1000 1 0 2 0 0 @900",
    ); // prettier-ignore
    assert.deepEqual(answers.map(Number), [...Array<number>(7).fill(errno.rofs), 0]);
  });
});

describe("poll_oneoff", () => {
  const clock = (id: number, timeout: bigint, absolute = 0): string =>
    u64(7n) + u64(0n) + u32(id, 0) + u64(timeout) + u64(0n) + u32(absolute, 0);
  const descriptor = (fd: number, kind: 1 | 2): string =>
    u64(9n) + u64(BigInt(kind)) + u32(fd, 0) + u64(0n).repeat(3);

  test("a relative clock waits at least its time, an absolute one in the past not at all", async () => {
    const start = performance.now();
    const answers = await call(
      `set 0 ${clock(1, 30_000_000n)}`, "call poll_oneoff @0 @1000 1 @2000", "get 2000 4", "get 1000 11",
      `set 0 ${clock(0, 1_000_000_000n, 1)}`, "call poll_oneoff @0 @1000 1 @2000", "get 2000 4",
    ); // prettier-ignore
    assert.ok(performance.now() - start >= 30);
    assert.deepEqual(answers, ["0", u32(1), `${u64(7n)}000000`, "0", u32(1)]);
  });

  test("a descriptor is ready at once, an unknown one has its error in the event, a long clock is left out", async () => {
    const answers = await call(
      `set 0 ${descriptor(1, 2)}${descriptor(66, 1)}${clock(1, 3_600_000_000_000n)}${clock(1, 0n)}`,
      "call poll_oneoff @0 @1000 4 @2000", "get 2000 4", "get 1008 3", "get 1040 3", "get 1072 3",
    ); // prettier-ignore
    assert.deepEqual(answers, ["0", u32(3), "000002", "080001", "000000"]);
  });

  test("no subscriptions, an unknown kind and an unknown clock are inval", async () => {
    const answers = await call(
      "call poll_oneoff @0 @1000 0 @2000", `set 0 ${u64(1n)}${u64(5n)}`, "call poll_oneoff @0 @1000 1 @2000",
      `set 0 ${clock(9, 1n)}`, "call poll_oneoff @0 @1000 1 @2000", "call poll_oneoff @0 @1000 5000 @2000",
    ); // prettier-ignore
    assert.deepEqual(answers.map(Number), Array<number>(4).fill(errno.inval));
  });
});
