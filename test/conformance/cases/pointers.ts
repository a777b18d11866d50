import { callNames, pointersOf, type Step } from "../script.ts";
import type { Case } from "../setting.ts";
import { d } from "../setting.ts";
import { append, bytes, c, create, open, openDirectory, raw, read, tell } from "../steps.ts";

/** A call of each kind that would succeed, where the specification lets it. */
const good: Readonly<Record<string, Step>> = {
  args_get: c("args_get"),
  args_sizes_get: c("args_sizes_get"),
  environ_get: c("environ_get"),
  environ_sizes_get: c("environ_sizes_get"),
  clock_res_get: c("clock_res_get", 0),
  clock_time_get: c("clock_time_get", 0, 0n),
  fd_fdstat_get: c("fd_fdstat_get", "a"),
  fd_filestat_get: c("fd_filestat_get", "a"),
  fd_pread: c("fd_pread", "a", [4], 0n),
  fd_prestat_get: c("fd_prestat_get", d),
  fd_prestat_dir_name: c("fd_prestat_dir_name", d, 2),
  fd_pwrite: c("fd_pwrite", "a", ["x"], 0n),
  fd_read: c("fd_read", "a", [4]),
  fd_readdir: c("fd_readdir", "h", 100, 0n),
  fd_seek: c("fd_seek", "a", 5n, 0),
  fd_tell: c("fd_tell", "a"),
  fd_write: c("fd_write", "a", ["x"]),
  path_create_directory: c("path_create_directory", d, bytes("new")),
  path_filestat_get: c("path_filestat_get", d, 0, bytes("f")),
  path_filestat_set_times: c("path_filestat_set_times", d, 0, bytes("f"), 1n, 1n, 5),
  path_link: c("path_link", d, 0, bytes("f"), d, bytes("new")),
  path_open: open("new", "b", { oflags: create }),
  path_readlink: c("path_readlink", d, bytes("link"), 10),
  path_remove_directory: c("path_remove_directory", d, bytes("hollow")),
  path_rename: c("path_rename", d, bytes("f"), d, bytes("new")),
  path_symlink: c("path_symlink", bytes("f"), d, bytes("new")),
  path_unlink_file: c("path_unlink_file", d, bytes("f")),
  poll_oneoff: c("poll_oneoff", [{ clock: 1, timeout: 0n }]),
  random_get: c("random_get", 4),
  sock_accept: c("sock_accept", "a", append),
  sock_recv: c("sock_recv", "a", [4], 0),
  sock_send: c("sock_send", "a", ["x"], 0),
};

const far: readonly (readonly [string, number])[] = [
  ["at the very end", 0xffff_ffff],
  ["far out", 0xffff_fff0],
];

export const pointerCases: readonly Case[] = [
  ...callNames
    .filter((name) => pointersOf(name).length > 0)
    .flatMap((name) =>
      pointersOf(name).flatMap((index) =>
        far.map(([where, pointer]): Case => {
          const step = good[name];
          if (!step) throw new Error(`no good call of ${name}`);
          return {
            name: `${name}: its parameter ${index} ${where}`,
            steps: [
              open("f", "a"),
              openDirectory("hollow", "h"),
              raw(step, { [index]: pointer }),
              tell("a"),
              c("fd_readdir", d, 4096, 0n),
              read("a", 3),
            ],
          };
        }),
      ),
    ),
  ...(
    [
      ["random_get", { 1: -1 }],
      ["random_get", { 1: 0x7fff_ffff }],
      ["fd_readdir", { 2: -1 }],
      ["path_open", { 3: -1 }],
      ["path_open", { 3: 70_000 }],
      ["path_readlink", { 4: -1 }],
      ["path_symlink", { 1: -1 }],
      ["fd_prestat_dir_name", { 2: -1 }],
      ["fd_write", { 2: -1 }],
      ["fd_read", { 2: 0x2000_0000 }],
      ["poll_oneoff", { 2: -1 }],
      ["poll_oneoff", { 2: 0x0555_5556 }],
    ] as const
  ).map(([name, replaced]): Case => {
    const step = good[name];
    if (!step) throw new Error(`no good call of ${name}`);
    return {
      name: `${name}: a length of ${Object.values(replaced).join()}`,
      steps: [open("f", "a"), openDirectory("hollow", "h"), raw(step, replaced), tell("a")],
    };
  }),
];
