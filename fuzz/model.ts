import type { Step, Descriptor, Subscription } from "../test/conformance/script.ts";
import type { Setting } from "../test/conformance/setting.ts";

/** What a call answers: the number's name, and the bytes that it gave, in the order in which a script tells them. */
export interface Answer {
  readonly errno: string;
  readonly out: readonly Buffer[];
}

/** Everything that lies in a directory, for the end of a round. */
export interface Lying {
  readonly path: string;
  readonly kind: Kind;
  readonly content?: string;
  readonly target?: string;
}

type Kind = "file" | "directory" | "symlink";

interface Inode {
  readonly id: number;
  readonly kind: Kind;
  data: Buffer;
  readonly target: string;
  names: { readonly name: string; readonly inode: Inode }[];
  /** Of a directory: the one above. */
  above: Inode | undefined;
  /** Names of it. */
  links: number;
  readonly readOnly: boolean;
  /** Nanoseconds; undefined is about now. */
  accessed: bigint | undefined;
  modified: bigint | undefined;
}

interface OpenFile {
  readonly inode: Inode;
  place: number;
  flags: number;
  readonly reads: boolean;
  readonly writes: boolean;
  base: bigint;
  inheriting: bigint;
  readonly preopen?: string;
  names?: readonly string[];
}

interface Place {
  readonly directory: Inode;
  readonly name: string;
  readonly inode: Inode | undefined;
  readonly slash: boolean;
  readonly dots: boolean;
}

class Fail extends Error {}
const fail = (errno: string): never => {
  throw new Fail(errno);
};

const filetypes = { directory: 3, file: 4, symlink: 7 } as const;
const bit = (number: number): bigint => 1n << BigInt(number);
const fileRights = [0, 1, 2, 3, 4, 5, 6, 7, 8, 21, 22, 23, 27].reduce(
  (sum, at) => sum | bit(at),
  0n,
);
const directoryRights = [9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 23, 24, 25, 26].reduce(
  (sum, at) => sum | bit(at),
  0n,
);

/**
 * The file system of a guest as the specification and POSIX have it, written to be read and not to be fast, and without a line of
 * the runtime's. Calls have the arguments of a script's steps.
 */
export class Model {
  #next = 1;
  readonly #open = new Map<number, OpenFile>();
  readonly #named = new Map<string, OpenFile>();
  readonly #roots: Inode[] = [];
  #stdin: Buffer;
  stdout = "";

  constructor(setting: Setting) {
    this.#stdin = Buffer.from(setting.stdin);
    const all = this.#make("directory", undefined, false);
    for (const [index, { path, readOnly, entries }] of setting.preopens.entries()) {
      const root = this.#make("directory", all, readOnly);
      this.#roots.push(root);
      this.#open.set(3 + index, {
        inode: root,
        place: 0,
        flags: 0,
        reads: true,
        writes: false,
        base: directoryRights,
        inheriting: directoryRights | fileRights,
        preopen: path,
      });
      for (const entry of entries) {
        const parts = entry.path.split("/");
        const name = parts.pop() ?? "";
        const parent = parts.reduce((at, part) => this.#child(at, part) ?? at, root);
        const made = this.#make(
          entry.kind,
          parent,
          readOnly,
          "target" in entry ? entry.target : "",
        );
        if (entry.kind === "file") made.data = Buffer.from(entry.content);
        parent.names.push({ name, inode: made });
      }
    }
  }

  /** What a step's call answers. */
  call(step: Extract<Step, { readonly call: string }>): Answer {
    try {
      return { errno: "success", out: this.#call(step) };
    } catch (thrown) {
      if (thrown instanceof Fail) return { errno: thrown.message, out: [] };
      throw thrown;
    }
  }

  /** A name of a descriptor is given up; the descriptor may stay open. */
  forget(name: string): void {
    this.#named.delete(name);
  }

  trees(): Lying[][] {
    const walk = (at: Inode, prefix: string): Lying[] =>
      at.names.flatMap(({ name, inode }): Lying[] => {
        const path = prefix + name;
        if (inode.kind === "file") {
          return [{ path, kind: "file", content: inode.data.toString("hex") }];
        }
        if (inode.kind === "symlink") return [{ path, kind: "symlink", target: inode.target }];
        return [{ path, kind: "directory" }, ...walk(inode, `${path}/`)];
      });
    return this.#roots.map((root) => walk(root, ""));
  }

  #make(kind: Kind, above: Inode | undefined, readOnly: boolean, target = ""): Inode {
    return {
      id: this.#next++,
      kind,
      data: Buffer.alloc(0),
      target,
      names: [],
      above,
      links: 1,
      readOnly,
      accessed: undefined,
      modified: undefined,
    };
  }

  #child(directory: Inode, name: string): Inode | undefined {
    return directory.names.find((entry) => entry.name === name)?.inode;
  }

  #touch(inode: Inode): void {
    inode.modified = undefined;
  }

  #add(directory: Inode, name: string, inode: Inode): void {
    if (directory.links === 0) fail("noent");
    if (directory.readOnly) fail("rofs");
    directory.names.push({ name, inode });
    this.#touch(directory);
  }

  #remove(directory: Inode, name: string): void {
    directory.names = directory.names.filter((entry) => entry.name !== name);
    this.#touch(directory);
  }

  #fd(fd: Descriptor): OpenFile | undefined {
    return typeof fd === "string" ? this.#named.get(fd) : this.#open.get(fd);
  }

  #file(fd: Descriptor, right: number): OpenFile {
    const found = this.#fd(fd);
    if (found?.inode.kind !== "file") return fail("badf");
    return this.#able(found, right);
  }

  #directory(fd: Descriptor, right: number): OpenFile {
    const found = this.#fd(fd);
    if (found?.inode.kind !== "directory") return fail("badf");
    return this.#able(found, right);
  }

  #able(found: OpenFile, ...rights: readonly number[]): OpenFile {
    if (rights.some((right) => (found.base & bit(right)) === 0n)) fail("notcapable");
    return found;
  }

  /** Walks a path part by part; a link's target takes the link's place in what is left of the path. */
  #walk(from: Inode, path: Uint8Array, follow: boolean, followSlash = true): Place {
    checkText(path);
    const text = Buffer.from(path).toString();
    if (text === "") fail("noent");
    if (text.startsWith("/")) fail("perm");
    if (text.includes("\0")) fail("inval");
    let slash = text.endsWith("/");
    const own = text.split("/").filter((part) => part !== "");
    const dots = [".", ".."].includes(own.at(-1) ?? "");
    const way = [from];
    let rest = own;
    let hops = 0;
    for (;;) {
      const here = way.at(-1) ?? from;
      const [part, ...after] = rest;
      rest = after;
      if (part === undefined) {
        const above = way.at(-2);
        const name = above?.names.find(({ inode }) => inode === here)?.name ?? ".";
        return { directory: above ?? here, name, inode: here, slash: slash && !dots, dots };
      }
      if (part === ".") continue;
      if (part === "..") {
        if (way.length === 1) fail("perm");
        way.pop();
        continue;
      }
      if (Buffer.byteLength(part) > 255) fail("nametoolong");
      const inode = this.#child(here, part);
      const last = rest.length === 0;
      const through = !last || (slash || dots ? followSlash : follow);
      if (inode?.kind === "symlink" && through) {
        if (++hops > 40) fail("loop");
        if (inode.target.startsWith("/")) fail("perm");
        if (last) slash ||= inode.target.endsWith("/");
        rest = [...inode.target.split("/").filter((step) => step !== ""), ...rest];
        continue;
      }
      if (last) return { directory: here, name: part, inode, slash: slash && !dots, dots };
      if (!inode) return fail("noent");
      if (inode.kind !== "directory") return fail("notdir");
      way.push(inode);
    }
  }

  #at(fd: Descriptor, right: number, path: Uint8Array, follow = false, followSlash = true): Place {
    return this.#walk(this.#directory(fd, right).inode, path, follow, followSlash);
  }

  #there(place: Place): Inode {
    if (!place.inode) return fail("noent");
    if ((place.slash || place.dots) && place.inode.kind !== "directory") return fail("notdir");
    return place.inode;
  }

  #call(step: Extract<Step, { readonly call: string }>): Buffer[] {
    const run = this.#calls[step.call];
    if (!run) throw new Error(`the model has no ${step.call}`);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each call says what its arguments are, as the table of scripts does
    return run(step.arguments as never, step.as) ?? [];
  }

  readonly #calls: Readonly<
    Record<string, (given: never, as: string | undefined) => Buffer[] | void>
  > = {
    path_open: (
      [fd, lookup, path, how, rights, , flags]: [
        Descriptor,
        number,
        Uint8Array,
        number,
        bigint,
        bigint,
        number,
      ],
      as,
    ) => {
      const [create, only, fresh, cut] = [1, 2, 4, 8].map((flag) => (how & flag) !== 0);
      if (only && (create || fresh || cut)) fail("inval");
      checkText(path);
      const found = this.#fd(fd);
      if (found?.inode.kind === "file") fail("notdir");
      const from = this.#directory(fd, 13);
      const writes = (rights & bit(6)) !== 0n;
      const asksRead = (rights & bit(1)) !== 0n;
      if (writes && (from.inheriting & bit(6)) === 0n) fail("notcapable");
      if (asksRead && (from.inheriting & bit(1)) === 0n) fail("notcapable");
      if (cut && (from.inheriting & bit(22)) === 0n) fail("notcapable");
      const place = this.#walk(from.inode, path, lookup === 1 && !(create && fresh), !create);
      if (create && place.slash) fail("isdir");
      let { inode } = place;
      if (inode && create && fresh) fail("exist");
      if (inode?.kind === "symlink") fail("loop");
      if (!inode) {
        if (!create) fail("noent");
        if (place.directory.links === 0) fail("noent");
        if (place.directory.readOnly) fail("rofs");
        this.#able(from, 10);
        inode = this.#make("file", undefined, false);
        this.#add(place.directory, place.name, inode);
      }
      if (inode.kind === "directory") {
        if (create || cut || writes) fail("isdir");
      } else {
        if (only || place.slash || place.dots) fail("notdir");
        if ((writes || cut) && (inode.readOnly || place.directory.readOnly)) fail("rofs");
        if (cut) {
          inode.data = Buffer.alloc(0);
          this.#touch(inode);
        }
      }
      const mine = inode.kind === "directory" ? directoryRights : fileRights;
      const base = from.inheriting & mine;
      this.#named.set(as ?? "", {
        inode,
        place: 0,
        flags,
        reads: asksRead || !writes,
        writes,
        base,
        inheriting: inode.kind === "directory" ? from.inheriting : base,
      });
    },
    path_filestat_get: ([fd, lookup, path]: [Descriptor, number, Uint8Array]) => [
      this.#stat(this.#there(this.#at(fd, 18, path, lookup === 1))),
    ],
    path_filestat_set_times: ([fd, lookup, path, accessed, modified, flags]: [
      Descriptor,
      number,
      Uint8Array,
      bigint,
      bigint,
      number,
    ]) => {
      this.#checkTimes(flags);
      this.#setTimes(this.#there(this.#at(fd, 20, path, lookup === 1)), accessed, modified, flags);
    },
    path_readlink: ([fd, path, room]: [Descriptor, Uint8Array, number]) => {
      const inode = this.#there(this.#at(fd, 15, path));
      if (inode.kind !== "symlink") fail("inval");
      const target = Buffer.from(inode.target).subarray(0, room);
      return [Buffer.concat([target, Buffer.alloc(room - target.length)]), u32(target.length)];
    },
    path_create_directory: ([fd, path]: [Descriptor, Uint8Array]) => {
      const place = this.#at(fd, 9, path, false, false);
      if (place.inode) fail("exist");
      const made = this.#make("directory", place.directory, false);
      this.#add(place.directory, place.name, made);
    },
    path_remove_directory: ([fd, path]: [Descriptor, Uint8Array]) => {
      const { directory, name, inode, dots } = this.#at(fd, 25, path, false, false);
      if (!inode) return fail("noent");
      if (dots) fail("inval");
      if (inode.kind !== "directory") fail("notdir");
      if (directory.readOnly || inode.readOnly) fail("rofs");
      if (inode.names.length > 0) fail("notempty");
      this.#remove(directory, name);
      inode.links = 0;
    },
    path_unlink_file: ([fd, path]: [Descriptor, Uint8Array]) => {
      const { directory, name, inode, slash } = this.#at(fd, 26, path);
      if (!inode) return fail("noent");
      if (inode.kind === "directory") fail("isdir");
      if (slash) fail("notdir");
      if (directory.readOnly || inode.readOnly) fail("rofs");
      this.#remove(directory, name);
      inode.links--;
    },
    path_symlink: ([target, fd, path]: [Uint8Array, Descriptor, Uint8Array]) => {
      const { inode: start } = this.#directory(fd, 24);
      checkText(path, target);
      const text = Buffer.from(target).toString();
      if (text.startsWith("/")) fail("perm");
      const place = this.#walk(start, path, false);
      if (text.includes("\0")) fail("inval");
      if (text === "") fail("noent");
      this.#refuse(place);
      this.#add(place.directory, place.name, this.#make("symlink", undefined, false, text));
    },
    path_link: ([fd, lookup, path, toFd, toPath]: [
      Descriptor,
      number,
      Uint8Array,
      Descriptor,
      Uint8Array,
    ]) => {
      const [start, end] = [this.#directory(fd, 11).inode, this.#directory(toFd, 12).inode];
      checkText(path, toPath);
      const inode = this.#there(this.#walk(start, path, lookup === 1));
      const to = this.#walk(end, toPath, false);
      this.#refuse(to);
      if (inode.kind === "directory") fail("perm");
      if (to.directory.links === 0) fail("noent");
      if (to.directory.readOnly) fail("rofs");
      if (inode.readOnly) fail("perm");
      this.#add(to.directory, to.name, inode);
      inode.links++;
    },
    path_rename: ([fd, path, toFd, toPath]: [Descriptor, Uint8Array, Descriptor, Uint8Array]) => {
      const [start, end] = [this.#directory(fd, 16).inode, this.#directory(toFd, 17).inode];
      checkText(path, toPath);
      const from = this.#walk(start, path, false, false);
      const to = this.#walk(end, toPath, false, false);
      if (from.dots || to.dots) fail("busy");
      const { inode } = from;
      if (!inode) return fail("noent");
      if (inode.kind !== "directory" && (from.slash || to.slash)) fail("notdir");
      if (from.directory.readOnly || inode.readOnly) fail("rofs");
      if (to.directory.readOnly || to.inode?.readOnly) fail("rofs");
      if (to.directory.links === 0) fail("noent");
      if (inode === to.inode) return;
      if (this.#contains(inode, to.directory)) fail("inval");
      const over = to.inode;
      if (over) {
        if (this.#contains(over, from.directory)) fail("notempty");
        if (inode.kind === "directory" && over.kind !== "directory") fail("notdir");
        if (inode.kind !== "directory" && over.kind === "directory") fail("isdir");
        if (over.kind === "directory" && over.names.length > 0) fail("notempty");
        over.links--;
      }
      this.#remove(from.directory, from.name);
      // What takes the place of something is read where that was.
      const entry = { name: to.name, inode };
      const { names } = to.directory;
      to.directory.names = over
        ? names.map((old) => (old.name === to.name ? entry : old))
        : [...names, entry];
      this.#touch(to.directory);
      if (inode.kind === "directory") inode.above = to.directory;
    },
    fd_close: ([fd]: [Descriptor]) => {
      if (typeof fd === "string") {
        if (!this.#named.has(fd)) fail("badf");
        // Another name may be of the same descriptor.
        const closed = this.#named.get(fd);
        for (const [name, open] of this.#named) if (open === closed) this.#named.delete(name);
      } else if (!this.#open.delete(fd)) fail("badf");
    },
    fd_renumber: ([from, to]: [string, string]) => {
      const [moved, replaced] = [this.#named.get(from), this.#named.get(to)];
      if (!moved || !replaced) return fail("badf");
      this.#named.set(to, moved);
      if (from !== to) this.#named.delete(from);
    },
    fd_read: ([fd, rooms]: [Descriptor, readonly number[]]) => {
      if (fd === 0) {
        const got = this.#stdin.subarray(0, sum(rooms));
        this.#stdin = this.#stdin.subarray(got.length);
        return scatter(got, rooms);
      }
      const file = this.#fd(fd);
      if (file?.inode.kind !== "file" || !file.reads) return fail("badf");
      this.#able(file, 1);
      const got = file.inode.data.subarray(file.place, file.place + sum(rooms));
      file.place += got.length;
      return scatter(got, rooms);
    },
    fd_pread: ([fd, rooms, at]: [Descriptor, readonly number[], bigint]) => {
      if (fd === 0) fail("spipe");
      const file = this.#fd(fd);
      if (file?.inode.kind !== "file" || !file.reads) return fail("badf");
      this.#able(file, 1, 2);
      if (at < 0n) fail("inval");
      return scatter(file.inode.data.subarray(Number(at), Number(at) + sum(rooms)), rooms);
    },
    fd_write: ([fd, parts]: [Descriptor, readonly string[]]) => {
      const text = parts.join("");
      if (fd === 1) {
        this.stdout += text;
        return [u32(Buffer.byteLength(text))];
      }
      const file = this.#fd(fd);
      if (file?.inode.kind !== "file" || !file.writes) return fail("badf");
      this.#able(file, 6);
      if (file.flags & 1) file.place = file.inode.data.length;
      const count = this.#put(file.inode, Buffer.from(text), file.place);
      file.place += count;
      return [u32(count)];
    },
    fd_pwrite: ([fd, parts, at]: [Descriptor, readonly string[], bigint]) => {
      if (fd === 1) fail("spipe");
      const file = this.#fd(fd);
      if (file?.inode.kind !== "file" || !file.writes) return fail("badf");
      this.#able(file, 6, 2);
      if (at < 0n) fail("inval");
      return [u32(this.#put(file.inode, Buffer.from(parts.join("")), Number(at)))];
    },
    fd_seek: ([fd, delta, whence]: [Descriptor, bigint, number]) => {
      if (fd === 0 || fd === 1) fail("spipe");
      const file = this.#file(fd, delta === 0n && whence === 1 ? 5 : 2);
      const base = whence === 0 ? 0 : whence === 1 ? file.place : file.inode.data.length;
      const place = BigInt(base) + delta;
      if (place < 0n) fail("inval");
      file.place = Number(place);
      return [u64(place)];
    },
    fd_tell: ([fd]: [Descriptor]) => {
      if (fd === 0 || fd === 1) fail("spipe");
      return [u64(BigInt(this.#file(fd, 5).place))];
    },
    fd_filestat_get: ([fd]: [Descriptor]) => {
      if (fd === 0 || fd === 1) return [Buffer.alloc(64)];
      const found = this.#fd(fd);
      if (!found) return fail("badf");
      return [this.#stat(this.#able(found, 21).inode)];
    },
    fd_filestat_set_size: ([fd, size]: [Descriptor, bigint]) => {
      const file = this.#file(fd, 22);
      if (!file.writes || size < 0n) fail("inval");
      this.#resize(file.inode, Number(size));
      this.#touch(file.inode);
    },
    fd_allocate: ([fd, at, length]: [Descriptor, bigint, bigint]) => {
      const { inode } = this.#file(fd, 8);
      if (!this.#fd(fd)?.writes) fail("badf");
      if (at < 0n || length <= 0n) fail("inval");
      if (at + length <= BigInt(inode.data.length)) return;
      this.#resize(inode, Number(at + length));
      this.#touch(inode);
    },
    fd_filestat_set_times: ([fd, accessed, modified, flags]: [
      Descriptor,
      bigint,
      bigint,
      number,
    ]) => {
      this.#checkTimes(flags);
      const found = this.#fd(fd);
      if (!found) return fail("badf");
      this.#setTimes(this.#able(found, 23).inode, accessed, modified, flags);
    },
    fd_advise: ([fd]: [Descriptor]) => void this.#file(fd, 7),
    fd_sync: ([fd]: [Descriptor]) => {
      const found = this.#fd(fd);
      if (!found) return fail("badf");
      if (found.inode.kind === "file") this.#able(found, 4);
    },
    fd_fdstat_get: ([fd]: [Descriptor]) => {
      const out = Buffer.alloc(24);
      if (fd === 0 || fd === 1) {
        out.writeBigUInt64LE(fd === 0 ? 2n : 64n, 8);
        out.writeBigUInt64LE(fd === 0 ? 2n : 64n, 16);
        return [out];
      }
      const found = this.#fd(fd);
      if (!found) return fail("badf");
      const isFile = found.inode.kind === "file";
      out[0] = filetypes[found.inode.kind];
      out.writeUInt16LE(isFile ? found.flags : 0, 2);
      const without = isFile ? (found.reads ? 0n : bit(1)) | (found.writes ? 0n : bit(6)) : 0n;
      out.writeBigUInt64LE(found.base & ~without, 8);
      out.writeBigUInt64LE(found.inheriting, 16);
      return [out];
    },
    fd_fdstat_set_flags: ([fd, flags]: [Descriptor, number]) => {
      if (fd === 0 || fd === 1) return;
      this.#file(fd, 3).flags = flags;
    },
    fd_fdstat_set_rights: ([fd, base, inheriting]: [Descriptor, bigint, bigint]) => {
      const found = this.#fd(fd);
      if (!found) return fail("badf");
      if ((base & ~found.base) !== 0n || (inheriting & ~found.inheriting) !== 0n)
        fail("notcapable");
      found.base = base;
      found.inheriting = inheriting;
    },
    fd_readdir: ([fd, room, cookie]: [Descriptor, number, bigint]) => {
      const open = this.#directory(fd, 14);
      if (cookie === 0n || !open.names) open.names = open.inode.names.map(({ name }) => name);
      const above = open.preopen === undefined ? open.inode.above : undefined;
      const parts: Buffer[] = [];
      for (const [index, name] of [".", "..", ...open.names].entries()) {
        const inode =
          index === 0
            ? open.inode
            : index === 1
              ? (above ?? open.inode)
              : this.#child(open.inode, name);
        if (!inode || BigInt(index) < cookie) continue;
        const head = Buffer.alloc(24);
        head.writeBigUInt64LE(BigInt(index + 1));
        head.writeBigUInt64LE(BigInt(inode.id), 8);
        head.writeUInt32LE(Buffer.byteLength(name), 16);
        head[20] = filetypes[inode.kind];
        parts.push(head, Buffer.from(name));
      }
      const listed = Buffer.concat(parts).subarray(0, room);
      return [Buffer.concat([listed, Buffer.alloc(room - listed.length)]), u32(listed.length)];
    },
    poll_oneoff: ([wanted]: [readonly Subscription[]]) => {
      const events = wanted.flatMap((one, index): Buffer[] => {
        const event = Buffer.alloc(32);
        event.writeBigUInt64LE(BigInt(100 + index));
        if ("clock" in one || "tag" in one) return [event];
        const reading = "read" in one;
        const fd = reading ? one.read : one.write;
        event[10] = reading ? 1 : 2;
        const found = this.#fd(fd);
        let left = 1;
        if (fd === 0 && reading) left = this.#stdin.length;
        else if (!(fd === 1 && !reading)) {
          if (found?.inode.kind !== "file") left = -8;
          else if ((found.base & bit(27)) === 0n) left = -76;
          else if (reading) left = Math.max(0, found.inode.data.length - found.place);
        }
        if (left < 0) event.writeUInt16LE(-left, 8);
        else event.writeBigUInt64LE(BigInt(left), 16);
        if (left === 0) event[24] = 1;
        return [event];
      });
      return [Buffer.concat(events), u32(events.length)];
    },
  };

  #contains(outer: Inode, inner: Inode): boolean {
    for (let at: Inode | undefined = inner; at; at = at.above) if (at === outer) return true;
    return false;
  }

  #refuse({ inode, slash }: Place): void {
    if (inode) fail(slash && inode.kind !== "directory" ? "notdir" : "exist");
    if (slash) fail("noent");
  }

  #put(inode: Inode, bytes: Buffer, at: number): number {
    if (bytes.length === 0) return 0;
    this.#resize(inode, Math.max(inode.data.length, at + bytes.length));
    bytes.copy(inode.data, at);
    this.#touch(inode);
    return bytes.length;
  }

  #resize(inode: Inode, size: number): void {
    const before = inode.data.subarray(0, size);
    inode.data = Buffer.concat([before, Buffer.alloc(size - before.length)]);
  }

  #checkTimes(flags: number): void {
    if ((flags & 3) === 3 || (flags & 12) === 12) fail("inval");
  }

  #setTimes(inode: Inode, accessed: bigint, modified: bigint, flags: number): void {
    if (inode.readOnly) fail("rofs");
    if (flags & 1) inode.accessed = accessed;
    if (flags & 2) inode.accessed = undefined;
    if (flags & 4) inode.modified = modified;
    if (flags & 8) inode.modified = undefined;
  }

  #stat(inode: Inode): Buffer {
    const out = Buffer.alloc(64);
    const now = BigInt(Date.now()) * 1_000_000n;
    const size = inode.kind === "symlink" ? Buffer.byteLength(inode.target) : inode.data.length;
    out.writeBigUInt64LE(1n);
    out.writeBigUInt64LE(BigInt(inode.id), 8);
    out[16] = filetypes[inode.kind];
    out.writeBigUInt64LE(BigInt(inode.links), 24);
    out.writeBigUInt64LE(BigInt(size), 32);
    out.writeBigUInt64LE(inode.accessed ?? now, 40);
    out.writeBigUInt64LE(inode.modified ?? now, 48);
    out.writeBigUInt64LE(now, 56);
    return out;
  }
}

function checkText(...texts: readonly Uint8Array[]): void {
  for (const text of texts) {
    if (!Buffer.from(Buffer.from(text).toString()).equals(Buffer.from(text))) fail("ilseq");
  }
}

const sum = (rooms: readonly number[]): number => rooms.reduce((all, room) => all + room, 0);

function scatter(bytes: Buffer, rooms: readonly number[]): Buffer[] {
  let at = 0;
  const parts = rooms.map((room) => {
    const part = bytes.subarray(at, at + room);
    at += room;
    return Buffer.concat([part, Buffer.alloc(room - part.length)]);
  });
  return [...parts, u32(bytes.length)];
}

function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

function u64(value: bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(value);
  return out;
}
