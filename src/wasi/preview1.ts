import { randomFillSync } from "node:crypto";
import { Errno, errno } from "./errno.ts";
import { beginPoll, block, readSubscriptions, writeEvent } from "./poll.ts";
import { pathBytes, resolvePath } from "./resolve.ts";
import type { DirectoryNode, FileNode, Node, Tree } from "./tree.ts";

/** Thrown by `proc_exit`, to leave the guest's stack. */
export class Exit extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super(`exit ${exitCode}`);
    this.exitCode = exitCode;
  }
}

export interface World {
  readonly arguments: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  readonly stdin: Uint8Array;
  readonly tree: Tree;
  readonly preopens: readonly string[];
  /** Most descriptors open at once. */
  readonly descriptors: number;
  /** Receives what the guest writes to its standard streams, still in the guest's memory; may throw to stop the guest. */
  readonly output: (stream: "stdout" | "stderr", bytes: Uint8Array) => void;
  /** Waits without the thread, where the guest's stack can be put aside; a short wait and any other place blocks. */
  readonly park?: (ms: number) => Promise<void> | undefined;
}

/** Putting a stack aside and going round by the event loop takes about as long as this. */
const shortestParkNs = 2_000_000n;

type Descriptor =
  | { readonly kind: "stdin"; position: number }
  | { readonly kind: "stdout" | "stderr" }
  | {
      readonly kind: "directory";
      readonly node: DirectoryNode;
      readonly preopen?: string;
      listing?: Listing;
    }
  | {
      readonly kind: "file";
      readonly node: FileNode;
      position: number;
      flags: number;
      readonly write: boolean;
      readonly read: boolean;
    };

type Listing = readonly (readonly [string, Node])[];

const filetypes = { directory: 3, file: 4, symlink: 7, character: 2 } as const;
/** Entries that the listings of all open directories hold together; one alone may be larger. */
const listedEntries = 1_000_000;
const append = 1;
const allFlags = 31;
const allRights = 0x1fffffffn;
const writeRight = 1n << 6n;
const writeRights = writeRight | (1n << 8n) | (1n << 22n);
const readRight = 1n << 1n;
const emptyBytes = new Uint8Array(0);

/** The imports `wasi_snapshot_preview1` of one sandbox; `attach` gives them the guest's memory. */
export function preview1(world: World): {
  readonly imports: Record<string, WebAssembly.ImportValue>;
  readonly attach: (memory: WebAssembly.Memory) => void;
  /** What ended the guest in one of our calls, as something with one field. */
  readonly ended: () => { readonly thrown: unknown } | undefined;
} {
  let memory: WebAssembly.Memory | undefined;
  let view = new DataView(new ArrayBuffer(0));
  let bytes = emptyBytes;
  const table = new Map<number, Descriptor>([
    [0, { kind: "stdin", position: 0 }],
    [1, { kind: "stdout" }],
    [2, { kind: "stderr" }],
  ]);
  const { tree } = world;
  for (const path of world.preopens) {
    const { node } = resolvePath(tree.root, `.${path}`, true);
    if (node?.kind === "directory")
      table.set(table.size, { kind: "directory", node, preopen: path });
  }
  const args = world.arguments.map((text) => Buffer.from(`${text}\0`));
  const environment = [...world.environment].map(([name, value]) =>
    Buffer.from(`${name}=${value}\0`),
  );

  const at = (pointer: number, length: number): number => {
    const start = pointer >>> 0;
    if (start + (length >>> 0) > bytes.length) throw new Errno("fault");
    return start;
  };
  const slice = (pointer: number, length: number): Uint8Array => {
    const start = at(pointer, length);
    return bytes.subarray(start, start + (length >>> 0));
  };
  const put32 = (pointer: number, value: number): void =>
    view.setUint32(at(pointer, 4), value, true);
  const put64 = (pointer: number, value: bigint): void =>
    view.setBigUint64(at(pointer, 8), value, true);
  const get32 = (pointer: number): number => view.getUint32(at(pointer, 4), true);
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const text = (pointer: number, length: number): string => {
    if (length >>> 0 > 65_536) throw new Errno("nametoolong");
    try {
      return decoder.decode(slice(pointer, length));
    } catch (thrown) {
      if (thrown instanceof Errno) throw thrown;
      throw new Errno("ilseq");
    }
  };
  const offset = (value: bigint): number => {
    if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Errno("inval");
    return Number(value);
  };
  const find = (fd: number): Descriptor => {
    const found = table.get(fd >>> 0);
    if (!found) throw new Errno("badf");
    return found;
  };
  const file = (fd: number): Extract<Descriptor, { kind: "file" }> => {
    const found = find(fd);
    if (found.kind === "file") return found;
    throw new Errno(found.kind === "directory" ? "isdir" : "spipe");
  };
  const directory = (fd: number): Extract<Descriptor, { kind: "directory" }> => {
    const found = find(fd);
    if (found.kind !== "directory") throw new Errno("notdir");
    return found;
  };
  const add = (descriptor: Descriptor): number => {
    if (table.size >= world.descriptors) throw new Errno("mfile");
    let fd = 3;
    while (table.has(fd)) fd++;
    table.set(fd, descriptor);
    return fd;
  };
  const path = (fd: number, pointer: number, length: number, follow: boolean) =>
    resolvePath(directory(fd).node, text(pointer, length), follow);
  const vectors = (pointer: number, count: number): Uint8Array[] => {
    if (count >>> 0 > 1024) throw new Errno("inval");
    return Array.from({ length: count }, (_, index) =>
      slice(get32(pointer + index * 8), get32(pointer + index * 8 + 4)),
    );
  };
  /** Whether names of a directory may change; a read-only mount in it stays where it is. */
  const changeable = (parent: DirectoryNode, node?: Node): void => {
    if (parent.readOnly || node?.readOnly) throw new Errno("rofs");
  };
  /** Each open directory keeps a listing of its own, and a guest can open one directory many times. */
  const mayList = (asked: Extract<Descriptor, { kind: "directory" }>): void => {
    let held = 0;
    for (const open of table.values()) {
      if (open.kind === "directory" && open !== asked) held += open.listing?.length ?? 0;
    }
    if (held > 0 && held + asked.node.children.size > listedEntries) throw new Errno("nomem");
  };
  const nanoseconds = (ms: number): bigint => BigInt(Math.round(ms * 1000)) * 1000n;
  const putStat = (pointer: number, kind: number, node?: Node, size = node?.size ?? 0): void => {
    at(pointer, 64);
    bytes.fill(0, pointer >>> 0, (pointer >>> 0) + 64);
    put64(pointer, 1n);
    put64(pointer + 8, BigInt(node?.id ?? 0));
    view.setUint8(at(pointer + 16, 1), kind);
    put64(pointer + 24, BigInt(node?.links ?? 1));
    put64(pointer + 32, BigInt(size));
    const time = nanoseconds(node?.timeMs ?? 0);
    for (const field of [40, 48, 56]) put64(pointer + field, time);
  };
  const setTime = (node: Node, modified: bigint, flags: number): void => {
    if (flags & ~15 || (flags & 3) === 3 || (flags & 12) === 12) throw new Errno("inval");
    if (node.readOnly) throw new Errno("rofs");
    if (flags & 4) node.timeMs = Number(BigInt.asUintN(64, modified) / 1000n) / 1000;
    if (flags & 8) node.timeMs = Date.now();
  };
  const write = (node: FileNode, from: Uint8Array, position: number): void => {
    if (node.readOnly) throw new Errno("rofs");
    if (!tree.write(node, from, position)) throw new Errno("nospc");
  };
  const forget = (node: Node): void => {
    node.links--;
    if (node.kind !== "file" || node.links > 0) return;
    for (const open of table.values()) if (open.kind === "file" && open.node === node) return;
    tree.release(node);
  };
  const close = (fd: number): void => {
    const found = find(fd);
    table.delete(fd >>> 0);
    if (found.kind === "file" && found.node.links === 0) {
      found.node.links++;
      forget(found.node);
    }
  };
  const list = (pointer: number, buffer: number, items: readonly Buffer[]): void => {
    let to = buffer;
    for (const [index, item] of items.entries()) {
      put32(pointer + index * 4, to);
      slice(to, item.length).set(item);
      to += item.length;
    }
  };
  const sizes = (count: number, size: number, items: readonly Buffer[]): void => {
    put32(count, items.length);
    put32(
      size,
      items.reduce((sum, item) => sum + item.length, 0),
    );
  };
  const clock = (id: number): bigint => {
    if (id === 0) return nanoseconds(performance.timeOrigin + performance.now());
    if (id >= 1 && id <= 3) return process.hrtime.bigint();
    throw new Errno("inval");
  };

  const calls: Record<string, (...parameters: never[]) => void> = {
    args_get: (pointer: number, buffer: number) => list(pointer, buffer, args),
    args_sizes_get: (count: number, size: number) => sizes(count, size, args),
    environ_get: (pointer: number, buffer: number) => list(pointer, buffer, environment),
    environ_sizes_get: (count: number, size: number) => sizes(count, size, environment),
    clock_res_get(id: number, pointer: number) {
      clock(id);
      put64(pointer, id === 0 ? 1000n : 1n);
    },
    clock_time_get: (id: number, _precision: bigint, pointer: number) => put64(pointer, clock(id)),
    random_get(pointer: number, length: number) {
      randomFillSync(slice(pointer, length));
    },
    fd_advise(fd: number, start: bigint, length: bigint, advice: number) {
      file(fd);
      if (advice >>> 0 > 5 || start < 0n || length < 0n) throw new Errno("inval");
    },
    fd_allocate(fd: number, start: bigint, length: bigint) {
      const { node, write: mayWrite } = file(fd);
      if (!mayWrite) throw new Errno("badf");
      const end = offset(start) + offset(length);
      if (end > node.size && !tree.resize(node, end)) throw new Errno("nospc");
    },
    fd_close: close,
    fd_datasync(fd: number) {
      find(fd);
    },
    fd_sync(fd: number) {
      find(fd);
    },
    fd_fdstat_get(fd: number, pointer: number) {
      const found = find(fd);
      at(pointer, 24);
      bytes.fill(0, pointer >>> 0, (pointer >>> 0) + 24);
      const kind = found.kind === "file" || found.kind === "directory" ? found.kind : "character";
      view.setUint8(pointer >>> 0, filetypes[kind]);
      view.setUint16((pointer >>> 0) + 2, found.kind === "file" ? found.flags : 0, true);
      let rights = allRights;
      if (kind === "character") rights &= ~((1n << 2n) | (1n << 5n));
      if (found.kind === "file" && !found.write) rights &= ~writeRights;
      if (found.kind === "file" && !found.read) rights &= ~readRight;
      put64(pointer + 8, rights);
      put64(pointer + 16, allRights);
    },
    fd_fdstat_set_flags(fd: number, flags: number) {
      const found = find(fd);
      if (flags & ~allFlags) throw new Errno("inval");
      if (found.kind === "directory") throw new Errno("isdir");
      // A standard stream never blocks and always appends, so every flag holds already.
      if (found.kind === "file") found.flags = flags;
    },
    fd_fdstat_set_rights(fd: number) {
      find(fd);
      throw new Errno("notsup");
    },
    fd_filestat_get(fd: number, pointer: number) {
      const found = find(fd);
      if (found.kind === "file" || found.kind === "directory") {
        putStat(pointer, filetypes[found.kind], found.node);
      } else putStat(pointer, filetypes.character);
    },
    fd_filestat_set_size(fd: number, size: bigint) {
      const { node, write: mayWrite } = file(fd);
      if (!mayWrite) throw new Errno("badf");
      if (node.readOnly) throw new Errno("rofs");
      if (!tree.resize(node, offset(size))) throw new Errno("nospc");
    },
    fd_filestat_set_times(fd: number, _access: bigint, modified: bigint, flags: number) {
      const found = find(fd);
      if (found.kind !== "file" && found.kind !== "directory") throw new Errno("badf");
      setTime(found.node, modified, flags);
    },
    fd_pread(fd: number, pointer: number, count: number, position: bigint, done: number) {
      const { node, read: mayRead } = file(fd);
      if (!mayRead) throw new Errno("badf");
      at(done, 4);
      let read = 0;
      for (const into of vectors(pointer, count))
        read += tree.read(node, into, offset(position) + read);
      put32(done, read);
    },
    fd_pwrite(fd: number, pointer: number, count: number, position: bigint, done: number) {
      const open = file(fd);
      if (!open.write) throw new Errno("badf");
      at(done, 4);
      let written = 0;
      for (const from of vectors(pointer, count)) {
        write(open.node, from, offset(position) + written);
        written += from.length;
      }
      put32(done, written);
    },
    fd_prestat_get(fd: number, pointer: number) {
      const found = find(fd);
      if (found.kind !== "directory" || found.preopen === undefined) throw new Errno("badf");
      put32(pointer, 0);
      put32(pointer + 4, Buffer.byteLength(found.preopen));
    },
    fd_prestat_dir_name(fd: number, pointer: number, length: number) {
      const found = find(fd);
      if (found.kind !== "directory" || found.preopen === undefined) throw new Errno("badf");
      const name = Buffer.from(found.preopen);
      if (name.length > length >>> 0) throw new Errno("nametoolong");
      slice(pointer, name.length).set(name);
    },
    fd_read(fd: number, pointer: number, count: number, done: number) {
      const found = find(fd);
      at(done, 4);
      let read = 0;
      for (const into of vectors(pointer, count)) {
        if (found.kind === "file") {
          if (!found.read) throw new Errno("badf");
          const got = tree.read(found.node, into, found.position);
          found.position += got;
          read += got;
        } else if (found.kind === "stdin") {
          const part = world.stdin.subarray(found.position, found.position + into.length);
          into.set(part);
          found.position += part.length;
          read += part.length;
        } else throw new Errno(found.kind === "directory" ? "isdir" : "badf");
      }
      put32(done, read);
    },
    fd_readdir(fd: number, pointer: number, length: number, cookie: bigint, done: number) {
      const open = directory(fd);
      // The listing is taken when reading begins, so that cookies hold while the directory changes.
      if (cookie === 0n || !open.listing) {
        mayList(open);
        open.listing = [[".", open.node], ["..", open.node.parent], ...open.node.children];
      }
      const room = slice(pointer, length);
      at(done, 4);
      let used = 0;
      for (let index = offset(cookie); index < open.listing.length && used < room.length; index++) {
        const [name, node] = open.listing[index] ?? [".", open.node];
        const nameBytes = Buffer.from(name);
        const entry = Buffer.alloc(24 + nameBytes.length);
        entry.writeBigUInt64LE(BigInt(index + 1), 0);
        entry.writeBigUInt64LE(BigInt(node.id), 8);
        entry.writeUInt32LE(nameBytes.length, 16);
        entry.writeUInt8(filetypes[node.kind], 20);
        nameBytes.copy(entry, 24);
        const part = entry.subarray(0, room.length - used);
        room.set(part, used);
        used += part.length;
      }
      put32(done, used);
    },
    fd_renumber(from: number, to: number) {
      const found = find(from);
      find(to);
      if (from === to) return;
      close(to);
      table.delete(from >>> 0);
      table.set(to >>> 0, found);
    },
    fd_seek(fd: number, delta: bigint, whence: number, pointer: number) {
      const open = file(fd);
      at(pointer, 8);
      const bases = [0n, BigInt(open.position), BigInt(open.node.size)];
      const base = bases[whence];
      if (base === undefined) throw new Errno("inval");
      open.position = offset(base + delta);
      put64(pointer, BigInt(open.position));
    },
    fd_tell: (fd: number, pointer: number) => put64(pointer, BigInt(file(fd).position)),
    fd_write(fd: number, pointer: number, count: number, done: number) {
      const found = find(fd);
      at(done, 4);
      let written = 0;
      for (const from of vectors(pointer, count)) {
        if (found.kind === "file") {
          if (!found.write) throw new Errno("badf");
          if (found.flags & append) found.position = found.node.size;
          write(found.node, from, found.position);
          found.position += from.length;
        } else if (found.kind === "stdout" || found.kind === "stderr") {
          if (from.length > 0) world.output(found.kind, from);
        } else throw new Errno("badf");
        written += from.length;
      }
      put32(done, written);
    },
    path_create_directory(fd: number, pointer: number, length: number) {
      const { parent, name, node } = path(fd, pointer, length, false);
      if (node) throw new Errno("exist");
      changeable(parent);
      if (!tree.mayCreate()) throw new Errno("nospc");
      tree.createDirectory(parent, name);
    },
    path_filestat_get(fd: number, follow: number, pointer: number, length: number, stat: number) {
      const { node, directory: mustBe } = path(fd, pointer, length, (follow & 1) !== 0);
      if (!node) throw new Errno("noent");
      if (mustBe && node.kind !== "directory") throw new Errno("notdir");
      putStat(stat, filetypes[node.kind], node);
    },
    path_filestat_set_times(
      fd: number,
      follow: number,
      pointer: number,
      length: number,
      _access: bigint,
      modified: bigint,
      flags: number,
    ) {
      const { node } = path(fd, pointer, length, (follow & 1) !== 0);
      if (!node) throw new Errno("noent");
      setTime(node, modified, flags);
    },
    path_link(
      fd: number,
      follow: number,
      pointer: number,
      length: number,
      newFd: number,
      newPointer: number,
      newLength: number,
    ) {
      const from = path(fd, pointer, length, (follow & 1) !== 0);
      const to = path(newFd, newPointer, newLength, false);
      if (!from.node) throw new Errno("noent");
      if (from.node.kind === "directory") throw new Errno("perm");
      if (from.directory) throw new Errno("notdir");
      if (to.node) throw new Errno("exist");
      if (to.directory) throw new Errno("noent");
      changeable(to.parent);
      if (!tree.mayCreate()) throw new Errno("nospc");
      tree.fileCount++;
      from.node.links++;
      to.parent.children.set(to.name, from.node);
    },
    path_open(
      fd: number,
      follow: number,
      pointer: number,
      length: number,
      oflags: number,
      rights: bigint,
      _inheriting: bigint,
      flags: number,
      opened: number,
    ) {
      at(opened, 4);
      const [create, mustBeDirectory, exclusive, truncate] = [1, 2, 4, 8].map(
        (bit) => (oflags & bit) !== 0,
      );
      const found = path(fd, pointer, length, (follow & 1) !== 0 && !(create && exclusive));
      let { node } = found;
      if (node && create && exclusive) throw new Errno("exist");
      if (node?.kind === "symlink") throw new Errno("loop");
      // Go and Zig ask for the right to set a size also of files that they only read, so that alone does not make a writer.
      const mayWrite = (rights & writeRight) !== 0n;
      if (!node) {
        if (!create || mustBeDirectory) throw new Errno("noent");
        if (found.directory) throw new Errno("isdir");
        changeable(found.parent);
        if (!tree.mayCreate()) throw new Errno("nospc");
        if (table.size >= world.descriptors) throw new Errno("mfile");
        node = tree.createFile(found.parent, found.name);
      }
      if (node.kind === "directory") {
        if (truncate || (mayWrite && !mustBeDirectory)) throw new Errno("isdir");
        put32(opened, add({ kind: "directory", node }));
        return;
      }
      if (mustBeDirectory || found.directory) throw new Errno("notdir");
      if (node.readOnly && (mayWrite || truncate)) throw new Errno("rofs");
      const descriptor = {
        kind: "file",
        node,
        position: 0,
        flags,
        write: mayWrite,
        read: (rights & readRight) !== 0n,
      } as const;
      put32(opened, add({ ...descriptor }));
      if (truncate) tree.resize(node, 0);
    },
    path_readlink(
      fd: number,
      pointer: number,
      length: number,
      buffer: number,
      room: number,
      done: number,
    ) {
      const { node } = path(fd, pointer, length, false);
      if (!node) throw new Errno("noent");
      if (node.kind !== "symlink") throw new Errno("inval");
      const target = Buffer.from(node.target).subarray(0, room >>> 0);
      slice(buffer, target.length).set(target);
      put32(done, target.length);
    },
    path_remove_directory(fd: number, pointer: number, length: number) {
      const { parent, name, node } = path(fd, pointer, length, false);
      if (!node) throw new Errno("noent");
      if (node.kind !== "directory") throw new Errno("notdir");
      if (name === ".") throw new Errno("inval");
      changeable(parent, node);
      if (node.children.size > 0) throw new Errno("notempty");
      parent.children.delete(name);
      parent.timeMs = Date.now();
    },
    path_rename(
      fd: number,
      pointer: number,
      length: number,
      newFd: number,
      newPointer: number,
      newLength: number,
    ) {
      const from = path(fd, pointer, length, false);
      const to = path(newFd, newPointer, newLength, false);
      const { node } = from;
      if (!node) throw new Errno("noent");
      if (node === to.node) return;
      if (from.name === "." || to.name === ".") throw new Errno("inval");
      if (from.directory && node.kind !== "directory") throw new Errno("notdir");
      changeable(from.parent, node);
      changeable(to.parent, to.node);
      if (node.kind === "directory") {
        for (let up = to.parent; ; up = up.parent) {
          if (up === node) throw new Errno("inval");
          if (up === up.parent) break;
        }
        if (to.node && to.node.kind !== "directory") throw new Errno("notdir");
        if (to.node?.kind === "directory" && to.node.children.size > 0) throw new Errno("notempty");
        node.parent = to.parent;
      } else {
        if (to.node?.kind === "directory") throw new Errno("isdir");
        if (to.directory) throw new Errno("notdir");
      }
      from.parent.children.delete(from.name);
      to.parent.children.set(to.name, node);
      from.parent.timeMs = to.parent.timeMs = Date.now();
      if (to.node) forget(to.node);
    },
    path_symlink(
      pointer: number,
      length: number,
      fd: number,
      newPointer: number,
      newLength: number,
    ) {
      const target = text(pointer, length);
      const { parent, name, node, directory: trailing } = path(fd, newPointer, newLength, false);
      if (node) throw new Errno("exist");
      if (trailing || target === "") throw new Errno("noent");
      if (target.startsWith("/")) throw new Errno("perm");
      if (length >>> 0 > pathBytes) throw new Errno("nametoolong");
      changeable(parent);
      if (!tree.mayCreate() || !tree.mayLink(length >>> 0)) throw new Errno("nospc");
      tree.createLink(parent, name, target);
    },
    path_unlink_file(fd: number, pointer: number, length: number) {
      const { parent, name, node, directory: trailing } = path(fd, pointer, length, false);
      if (!node) throw new Errno("noent");
      if (node.kind === "directory") throw new Errno("isdir");
      if (trailing) throw new Errno("notdir");
      changeable(parent, node);
      parent.children.delete(name);
      parent.timeMs = Date.now();
      forget(node);
    },
    proc_raise() {
      throw new Errno("notsup");
    },
    sched_yield() {},
    sock_accept(fd: number) {
      find(fd);
      throw new Errno("notsock");
    },
    sock_recv(fd: number) {
      find(fd);
      throw new Errno("notsock");
    },
    sock_send(fd: number) {
      find(fd);
      throw new Errno("notsock");
    },
    sock_shutdown(fd: number) {
      find(fd);
      throw new Errno("notsock");
    },
  };

  /** `memory.grow` detaches the buffer that the views were made over. */
  const refresh = (): boolean => {
    if (!memory) return false;
    if (view.buffer !== memory.buffer) {
      view = new DataView(memory.buffer);
      bytes = new Uint8Array(memory.buffer);
    }
    return true;
  };
  let ended: { readonly thrown: unknown } | undefined;
  /** A guest may catch what we throw (`catch_all`), but it gets no further call after that. */
  const end = (thrown: unknown): never => {
    ended ??= { thrown };
    throw ended.thrown;
  };
  const answer = (thrown: unknown): number => answerOf(thrown) ?? end(thrown);
  const imports: Record<string, WebAssembly.ImportValue> = Object.create(null);
  for (const [name, call] of Object.entries(calls)) {
    // WebAssembly calls with numbers and bigints of the declared signature; a module that declares another one gets what it asked for.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- WebAssembly converts to the types that the signature declares
    const body = call as (...parameters: unknown[]) => void;
    imports[name] = (...parameters: unknown[]): number => {
      if (ended) throw ended.thrown;
      if (!refresh()) return errno.fault;
      try {
        body(...parameters);
        return errno.success;
      } catch (thrown) {
        return answer(thrown);
      }
    };
  }
  const pollOneoff = (
    pointer: number,
    events: number,
    count: number,
    done: number,
  ): number | Promise<number> => {
    if (ended) throw ended.thrown;
    if (!refresh()) return errno.fault;
    try {
      const total = count >>> 0;
      if (total === 0 || total > 1024) throw new Errno("inval");
      const from = at(pointer, total * 48);
      const to = at(events, total * 32);
      at(done, 4);
      const subscriptions = readSubscriptions(new DataView(view.buffer, from, total * 48), clock);
      const poll = beginPoll(subscriptions, (fd) => {
        const found = table.get(fd);
        if (!found) return undefined;
        if (found.kind === "stdin") return world.stdin.length - found.position;
        return found.kind === "file" ? Math.max(0, found.node.size - found.position) : 0;
      });
      const finish = (): number => {
        refresh();
        const ready = poll.due();
        for (const [slot, event] of ready.entries()) {
          writeEvent(new DataView(view.buffer, to + slot * 32, 32), event);
        }
        put32(done, ready.length);
        return errno.success;
      };
      // The host may wake us a little early, and a guest must not see a sleep that was too short.
      const go = (): number | Promise<number> => {
        for (let left = poll.leftNs(); left > 0n; left = poll.leftNs()) {
          const parked = left >= shortestParkNs ? world.park?.(Number(left) / 1e6) : undefined;
          if (parked) return parked.then(go);
          block(left);
        }
        return finish();
      };
      return go();
    } catch (thrown) {
      return answer(thrown);
    }
  };
  imports["poll_oneoff"] = world.park ? new WebAssembly.Suspending(pollOneoff) : pollOneoff;
  // Another signature may give something else than a number here.
  imports["proc_exit"] = (code: unknown): never => end(new Exit(Number(code) >>> 0));
  return { imports, attach: (given) => void (memory = given), ended: () => ended };
}

/** What the guest gets for something thrown on the way; undefined for what is no answer but the guest's end. */
function answerOf(thrown: unknown): number | undefined {
  if (thrown instanceof Errno) return thrown.number;
  // The guest's own recursion ended in our frame: that is its trap and no errno.
  if (thrown instanceof RangeError && thrown.message.includes("call stack")) return undefined;
  if (thrown instanceof RangeError || thrown instanceof TypeError) return errno.inval;
  if (isHostError(thrown)) return thrown.code === "ENOSPC" ? errno.nospc : errno.io;
  return undefined;
}

function isHostError(thrown: unknown): thrown is Error & { readonly code: string } {
  return (
    thrown instanceof Error &&
    "code" in thrown &&
    typeof thrown.code === "string" &&
    "syscall" in thrown
  );
}
