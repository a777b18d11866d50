import type { Argument, Descriptor, Step } from "./script.ts";
import { d } from "./setting.ts";

/** In the order of their bits. */
const names = [
  "datasync", "read", "seek", "setFlags", "sync", "tell", "write", "advise", "allocate", "createDirectory",
  "createFile", "linkSource", "linkTarget", "open", "readdir", "readlink", "renameSource", "renameTarget",
  "pathFilestatGet", "pathSetSize", "pathSetTimes", "filestatGet", "setSize", "setTimes", "symlink",
  "removeDirectory", "unlink", "poll", "shutdown", "accept",
] as const; // prettier-ignore

export const rights: Readonly<Record<(typeof names)[number] | "all", bigint>> = {
  ...(Object.fromEntries(names.map((name, bit) => [name, 1n << BigInt(bit)])) as Record<
    (typeof names)[number],
    bigint
  >),
  all: (1n << 30n) - 1n,
};
export const create = 1;
export const directory = 2;
export const exclusive = 4;
export const truncate = 8;
export const append = 1;
export const dsync = 2;
export const nonblock = 4;
export const rsync = 8;
export const sync = 16;
export const follow = 1;

/** One call with its arguments in the order of the witx description; what it answers has none. */
export function c(call: string, ...given: readonly Argument[]): Step {
  return { call, arguments: given };
}

/** The same with parameters of the WebAssembly function, by index, replaced by numbers. */
export function raw(step: Step, replaced: Readonly<Record<number, number | bigint>>): Step {
  return { ...step, raw: replaced };
}

export interface OpenOptions {
  readonly at?: Descriptor;
  readonly lookup?: number;
  readonly oflags?: number;
  readonly rights?: bigint;
  readonly flags?: number;
}

const readWrite = rights.read | rights.write | rights.seek | rights.tell;

/** Opens a path, for reading and writing when nothing else is said, under a name. */
export function open(path: string | Uint8Array, as: string, options: OpenOptions = {}): Step {
  const { at = d, lookup = 0, oflags = 0, rights = readWrite, flags = 0 } = options;
  return {
    call: "path_open",
    arguments: [at, lookup, bytes(path), oflags, rights, 0n, flags],
    as,
  };
}

export function openDirectory(path: string, as: string, at: Descriptor = d): Step {
  return open(path, as, { at, oflags: directory, rights: rights.read | rights.readdir });
}

export function bytes(text: string | Uint8Array): Uint8Array {
  return typeof text === "string" ? Buffer.from(text) : text;
}

export const stat = (path: string, lookup = 0, at: Descriptor = d): Step =>
  c("path_filestat_get", at, lookup, bytes(path));
export const mkdir = (path: string, at: Descriptor = d): Step =>
  c("path_create_directory", at, bytes(path));
export const rmdir = (path: string, at: Descriptor = d): Step =>
  c("path_remove_directory", at, bytes(path));
export const unlink = (path: string, at: Descriptor = d): Step =>
  c("path_unlink_file", at, bytes(path));
export const rename = (from: string, to: string, at: Descriptor = d, toAt: Descriptor = d): Step =>
  c("path_rename", at, bytes(from), toAt, bytes(to));
export const link = (
  from: string,
  to: string,
  lookup = 0,
  at: Descriptor = d,
  toAt: Descriptor = d,
): Step => c("path_link", at, lookup, bytes(from), toAt, bytes(to));
export const symlink = (target: string, path: string, at: Descriptor = d): Step =>
  c("path_symlink", bytes(target), at, bytes(path));
export const readlink = (path: string, room = 100, at: Descriptor = d): Step =>
  c("path_readlink", at, bytes(path), room);
export const read = (fd: Descriptor, ...room: readonly number[]): Step => c("fd_read", fd, room);
export const write = (fd: Descriptor, ...parts: readonly string[]): Step =>
  c("fd_write", fd, parts);
export const pread = (fd: Descriptor, at: bigint, ...room: readonly number[]): Step =>
  c("fd_pread", fd, room, at);
export const pwrite = (fd: Descriptor, at: bigint, ...parts: readonly string[]): Step =>
  c("fd_pwrite", fd, parts, at);
export const seek = (fd: Descriptor, delta: bigint, whence = 0): Step =>
  c("fd_seek", fd, delta, whence);
export const tell = (fd: Descriptor): Step => c("fd_tell", fd);
export const close = (fd: Descriptor): Step => c("fd_close", fd);
export const fdstat = (fd: Descriptor): Step => c("fd_fdstat_get", fd);
export const filestat = (fd: Descriptor): Step => c("fd_filestat_get", fd);
export const readdir = (fd: Descriptor, cookie = 0n, room = 4096): Step =>
  c("fd_readdir", fd, room, cookie);
