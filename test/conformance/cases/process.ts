import type { Case } from "../setting.ts";
import { d, e } from "../setting.ts";
import type { Step } from "../script.ts";
import {
  append,
  bytes,
  c,
  close,
  create,
  open,
  openDirectory,
  raw,
  read,
  readdir,
  rename,
  rights,
  rmdir,
  seek,
  unlink,
  write,
} from "../steps.ts";

const names = Array.from({ length: 20 }, (_, index) => `hollow/${String(index).padStart(2, "0")}`);
const made: readonly Step[] = names.flatMap((name) => [
  open(name, "t", { oflags: create }),
  close("t"),
]);
export const processCases: readonly Case[] = [
  { name: "args_get: arguments with every kind of character", steps: [c("args_get")] },
  {
    name: "environ_get: names and values as they are",
    steps: [c("environ_sizes_get"), c("environ_get")],
  },
  {
    name: "clock_time_get: every clock",
    steps: [0, 1, 2, 3, 4, -1].map((id) => c("clock_time_get", id, 0n)),
  },
  {
    name: "clock_time_get: every precision",
    steps: [1n, 1_000_000_000n, -1n].map((precision) => c("clock_time_get", 1, precision)),
  },
  {
    name: "clock_res_get: every clock",
    steps: [0, 1, 2, 3, 4, -1].map((id) => c("clock_res_get", id)),
  },
  {
    name: "random_get: some bytes, and none",
    steps: [c("random_get", 32), c("random_get", 0), c("random_get", 70_000)],
  },
  { name: "sched_yield: answers", steps: [c("sched_yield")] },
  {
    name: "proc_raise: every signal",
    steps: [0, 1, 2, 6, 9, 15, 30, 31, 255, 256, -1].map((signal) => c("proc_raise", signal)),
  },
  ...[0, 1, 125, 126, 127, 128, 255, 256, -1].map((code): Case => ({
    name: `proc_exit: ${code}`,
    steps: [c("sched_yield"), { exit: code }, c("sched_yield")],
  })),
  { name: "the start ends with no exit", steps: [c("sched_yield")] },
  {
    name: "memory grows between calls",
    steps: [
      write(1, "a"),
      { grow: 1 },
      write(1, "b"),
      open("f", "a"),
      { grow: 10 },
      read("a", 100),
    ],
  },
  {
    name: "poll_oneoff: one clock",
    steps: [
      ...[0n, 1n, 1_000_000n].flatMap((timeout) =>
        [0, 1].map((clock) => c("poll_oneoff", [{ clock, timeout }])),
      ),
      c("poll_oneoff", [{ clock: 2, timeout: 0n }]),
      c("poll_oneoff", [{ clock: 3, timeout: 0n }]),
      c("poll_oneoff", [{ clock: 4, timeout: 0n }]),
    ],
  },
  {
    name: "poll_oneoff: times that are past",
    steps: [0, 1].flatMap((clock) =>
      [0n, 1n, 1_000_000_000n].map((timeout) => c("poll_oneoff", [{ clock, timeout, flags: 1 }])),
    ),
  },
  {
    name: "poll_oneoff: flags that no specification names",
    steps: [2, 3, 0xffff].map((flags) => c("poll_oneoff", [{ clock: 1, timeout: 0n, flags }])),
  },
  {
    name: "poll_oneoff: a clock that rings and one that does not",
    steps: [
      c("poll_oneoff", [
        { clock: 1, timeout: 3_600_000_000_000n },
        { clock: 1, timeout: 1_000_000n },
      ]),
      c("poll_oneoff", [
        { clock: 0, timeout: 1_000_000n },
        { clock: 1, timeout: 3_600_000_000_000n },
      ]),
      c("poll_oneoff", [
        { clock: 1, timeout: 0n },
        { clock: 1, timeout: 0n },
      ]),
      c("poll_oneoff", [
        { clock: 1, timeout: -1n },
        { clock: 1, timeout: 0n },
      ]),
    ],
  },
  {
    name: "poll_oneoff: nothing, and kinds that no specification names",
    steps: [c("poll_oneoff", []), c("poll_oneoff", [{ tag: 3 }]), c("poll_oneoff", [{ tag: 255 }])],
  },
  {
    name: "poll_oneoff: files to read and to write",
    steps: [
      open("f", "a"),
      c("poll_oneoff", [{ read: "a" }]),
      c("poll_oneoff", [{ write: "a" }]),
      c("poll_oneoff", [{ read: "a" }, { write: "a" }]),
      read("a", 100),
      c("poll_oneoff", [{ read: "a" }]),
      seek("a", 100n),
      c("poll_oneoff", [{ read: "a" }]),
      open("empty", "b", { flags: append }),
      c("poll_oneoff", [{ read: "b" }, { write: "b" }]),
    ],
  },
  {
    name: "poll_oneoff: files beside clocks",
    steps: [
      open("f", "a"),
      c("poll_oneoff", [{ read: "a" }, { clock: 1, timeout: 3_600_000_000_000n }]),
      c("poll_oneoff", [{ clock: 1, timeout: 3_600_000_000_000n }, { write: "a" }]),
      c("poll_oneoff", [{ clock: 1, timeout: 3_600_000_000_000n }, { write: 1 }]),
    ],
  },
  {
    name: "poll_oneoff: the standard streams",
    steps: [
      c("poll_oneoff", [{ read: 0 }]),
      c("poll_oneoff", [{ write: 1 }]),
      c("poll_oneoff", [{ write: 0 }]),
      c("poll_oneoff", [{ read: 1 }]),
      read(0, 1000),
      c("poll_oneoff", [{ read: 0 }]),
    ],
  },
  {
    name: "poll_oneoff: descriptors that are none, or directories",
    steps: [
      c("poll_oneoff", [{ read: 900 }]),
      c("poll_oneoff", [{ write: 900 }]),
      c("poll_oneoff", [{ read: d }]),
      c("poll_oneoff", [{ write: d }]),
      open("f", "a"),
      c("poll_oneoff", [{ read: "a" }, { read: 900 }]),
      open("f", "b", { rights: rights.read }),
      c("poll_oneoff", [{ write: "b" }]),
      open("f", "b", { rights: rights.write }),
      c("poll_oneoff", [{ read: "b" }]),
    ],
  },
  {
    name: "fd_readdir: a folder emptied while it is read",
    steps: [
      ...made,
      openDirectory("hollow", "a"),
      readdir("a", 0n, 51),
      ...names.map((name) => unlink(name)),
      readdir("a", 2n),
      readdir("a", 5n),
      rmdir("hollow"),
      readdir("a"),
    ],
  },
  {
    name: "fd_readdir: what was read already stays read when it is removed",
    steps: [
      open("hollow/00", "t", { oflags: create }),
      openDirectory("hollow", "a"),
      readdir("a", 0n, 77),
      unlink("hollow/00"),
      open("hollow/01", "t", { oflags: create }),
      readdir("a", 2n),
      readdir("a", 0n),
      rename("hollow/01", "hollow/02"),
      readdir("a", 0n),
    ],
  },
  {
    name: "fd_readdir: a folder that was moved, and one below it",
    steps: [
      openDirectory("dir", "a"),
      rename("dir", "sub/dir", d, e),
      readdir("a"),
      rename("sub/dir", "dir", e, d),
      readdir("a"),
    ],
  },
  {
    name: "fd_write: 10,000 buffers",
    steps: [
      raw(write(1, "a", "b"), { 2: 10_000 }),
      raw(c("fd_read", 0, [1]), { 2: 1024 }),
      raw(c("fd_read", 0, [1]), { 2: 1025 }),
    ],
  },
  {
    name: "fd_write: a megabyte into a file and back",
    steps: [
      open("big", "a", { oflags: create }),
      raw(write("a", "x"), { 1: 0, 2: 0 }),
      c("fd_filestat_set_size", "a", 1_048_576n),
      c("fd_pread", "a", [100_000, 100_000], 1_000_000n),
      c("path_filestat_get", d, 0, bytes("big")),
    ],
  },
];
