/** Steps of a case as data, turned into the script that the guest reads, and what the guest told turned back into words. */

/** A descriptor: a number, or the name that `path_open` gave it. */
export type Descriptor = number | string;
export type Subscription =
  | { readonly clock: number; readonly timeout: bigint; readonly flags?: number }
  | { readonly read: Descriptor }
  | { readonly write: Descriptor }
  | { readonly tag: number };
export type Argument =
  | Descriptor
  | bigint
  | Uint8Array
  | readonly (string | Uint8Array | number)[]
  | readonly Subscription[];

export type Step =
  | {
      readonly call: string;
      readonly arguments: readonly Argument[];
      /** Name of the descriptor that the call opens. */
      readonly as?: string;
      /** Parameters of the WebAssembly function by index, to be replaced by numbers. */
      readonly raw?: Readonly<Record<number, number | bigint>>;
    }
  | { readonly grow: number }
  | { readonly exit: number }
  /** The name is no descriptor any more, whatever comes to have its number. */
  | { readonly forget: string };

/** What a parameter (or two) of a call is. `out` ones have no argument: the guest tells what was written there. */
type Parameter =
  | "fd" | "i32" | "i64" | "text" | "ciovs" | "iovs" | "room" | "subscriptions" | "events" | "count"
  | "out32" | "out64" | "outfd" | "out16" | "filestat" | "fdstat" | "prestat" | "list"; // prettier-ignore

const functions: Readonly<Record<string, readonly Parameter[]>> = {
  args_get: ["list"],
  args_sizes_get: ["out32", "out32"],
  environ_get: ["list"],
  environ_sizes_get: ["out32", "out32"],
  clock_res_get: ["i32", "out64"],
  clock_time_get: ["i32", "i64", "out64"],
  fd_advise: ["fd", "i64", "i64", "i32"],
  fd_allocate: ["fd", "i64", "i64"],
  fd_close: ["fd"],
  fd_datasync: ["fd"],
  fd_fdstat_get: ["fd", "fdstat"],
  fd_fdstat_set_flags: ["fd", "i32"],
  fd_fdstat_set_rights: ["fd", "i64", "i64"],
  fd_filestat_get: ["fd", "filestat"],
  fd_filestat_set_size: ["fd", "i64"],
  fd_filestat_set_times: ["fd", "i64", "i64", "i32"],
  fd_pread: ["fd", "iovs", "i64", "out32"],
  fd_prestat_get: ["fd", "prestat"],
  fd_prestat_dir_name: ["fd", "room"],
  fd_pwrite: ["fd", "ciovs", "i64", "out32"],
  fd_read: ["fd", "iovs", "out32"],
  fd_readdir: ["fd", "room", "i64", "out32"],
  fd_renumber: ["fd", "fd"],
  fd_seek: ["fd", "i64", "i32", "out64"],
  fd_sync: ["fd"],
  fd_tell: ["fd", "out64"],
  fd_write: ["fd", "ciovs", "out32"],
  path_create_directory: ["fd", "text"],
  path_filestat_get: ["fd", "i32", "text", "filestat"],
  path_filestat_set_times: ["fd", "i32", "text", "i64", "i64", "i32"],
  path_link: ["fd", "i32", "text", "fd", "text"],
  path_open: ["fd", "i32", "text", "i32", "i64", "i64", "i32", "outfd"],
  path_readlink: ["fd", "text", "room", "out32"],
  path_remove_directory: ["fd", "text"],
  path_rename: ["fd", "text", "fd", "text"],
  path_symlink: ["text", "fd", "text"],
  path_unlink_file: ["fd", "text"],
  poll_oneoff: ["subscriptions", "events", "count", "out32"],
  proc_raise: ["i32"],
  random_get: ["room"],
  sched_yield: [],
  sock_accept: ["fd", "i32", "outfd"],
  sock_recv: ["fd", "iovs", "i32", "out32", "out16"],
  sock_send: ["fd", "ciovs", "i32", "out32"],
  sock_shutdown: ["fd", "i32"],
};

/** Every call that a script can name; `proc_exit` is the step `exit`. */
export const callNames: readonly string[] = Object.keys(functions);

/** Indexes of a call's parameters that are pointers. */
export function pointersOf(call: string): number[] {
  const pointers: number[] = [];
  let index = 0;
  for (const kind of parametersOf(call)) {
    if (kind === "list") pointers.push(index, index + 1);
    else if (kind !== "fd" && kind !== "i32" && kind !== "i64" && kind !== "count") {
      pointers.push(index);
    }
    index += widthOf(kind);
  }
  return pointers;
}

const two: ReadonlySet<Parameter> = new Set(["text", "ciovs", "iovs", "room", "list"]);
const widthOf = (kind: Parameter): number => (two.has(kind) ? 2 : 1);

function parametersOf(call: string): readonly Parameter[] {
  const found = functions[call];
  if (!found) throw new Error(`there is no call ${call}`);
  return found;
}

const errnos: readonly string[] = [
  "success", "2big", "acces", "addrinuse", "addrnotavail", "afnosupport", "again", "already", "badf", "badmsg",
  "busy", "canceled", "child", "connaborted", "connrefused", "connreset", "deadlk", "destaddrreq", "dom", "dquot",
  "exist", "fault", "fbig", "hostunreach", "idrm", "ilseq", "inprogress", "intr", "inval", "io",
  "isconn", "isdir", "loop", "mfile", "mlink", "msgsize", "multihop", "nametoolong", "netdown", "netreset",
  "netunreach", "nfile", "nobufs", "nodev", "noent", "noexec", "nolck", "nolink", "nomem", "nomsg",
  "noprotoopt", "nospc", "nosys", "notconn", "notdir", "notempty", "notrecoverable", "notsock", "notsup", "notty",
  "nxio", "overflow", "ownerdead", "perm", "pipe", "proto", "protonosupport", "prototype", "range", "rofs",
  "spipe", "srch", "stale", "timedout", "txtbsy", "xdev", "notcapable",
]; // prettier-ignore
const filetypes = [
  "unknown",
  "block",
  "character",
  "directory",
  "file",
  "dgram",
  "stream",
  "symlink",
];

/** Scratch below this holds descriptors; a step's own bytes come after it. */
const slots = 1024;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const bytesOf = (value: string | Uint8Array | number): Uint8Array =>
  typeof value === "number" ? new Uint8Array(value) : Buffer.from(value);

const none = new Uint8Array(0);

type Read = (hexOf: readonly Buffer[]) => string;
interface Compiled {
  readonly lines: string[];
  /** How many lines of bytes follow the errno, and what they say. */
  readonly gets: number;
  readonly read: Read;
}

/** A case's script, and the reader of what the guest tells. */
export class Script {
  readonly #slots = new Map<string, number>();
  readonly #inodes = new Map<bigint, number>();
  readonly #times = new Map<bigint, string>();
  readonly #steps: readonly Step[];
  readonly #compiled: readonly (Compiled | undefined)[];
  readonly text: string;

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
    this.#compiled = steps.map((step) => ("call" in step ? this.#compile(step) : undefined));
    this.text = steps
      .map((step, index) => {
        if ("grow" in step) return `m ${step.grow}\n`;
        if ("exit" in step) return `x ${step.exit}\n`;
        if ("forget" in step) return `s ${this.#slot(step.forget)} f0ffffff\n`;
        return `${this.#compiled[index]?.lines.join("\n")}\n`;
      })
      .join("");
  }

  /** One answer for each step that was told of: an errno's name, or `ok` and what the call gave. */
  read(told: string): string[] {
    const lines = told.split("\n").slice(0, -1);
    const answers: string[] = [];
    for (const [index, step] of this.#steps.entries()) {
      if ("forget" in step) {
        answers.push("forgotten");
        continue;
      }
      const first = lines.shift();
      if (first === undefined) break;
      if ("grow" in step) answers.push(`grown from ${first}`);
      else {
        const compiled = this.#compiled[index];
        const bytes = lines.splice(0, compiled?.gets ?? 0).map((line) => Buffer.from(line, "hex"));
        if (bytes.length < (compiled?.gets ?? 0)) break;
        const errno = Number(first);
        answers.push(
          errno === 0 ? `ok${compiled?.read(bytes) ?? ""}` : (errnos[errno] ?? `errno ${errno}`),
        );
      }
    }
    return answers;
  }

  /** What a guest would tell whose calls were answered so, by the names of errors and the bytes that were given. */
  tell(
    answers: readonly { readonly errno: string; readonly out: readonly Uint8Array[] }[],
  ): string {
    const given = [...answers];
    return this.#compiled
      .map((compiled) => {
        if (!compiled) return "";
        const { errno, out } = given.shift() ?? { errno: "success", out: [] };
        const gets = Array.from({ length: compiled.gets }, (_, index) => out[index] ?? none);
        return [`${errnos.indexOf(errno)}`, ...gets.map(hex), ""].join("\n");
      })
      .join("");
  }

  #slot(name: string): number {
    const at = this.#slots.get(name) ?? 16 + this.#slots.size * 4;
    this.#slots.set(name, at);
    return at;
  }

  #compile(step: Extract<Step, { readonly call: string }>): Compiled {
    let free = slots;
    const take = (size: number): number => {
      const at = free;
      free += Math.ceil((size + 8) / 8) * 8;
      return at;
    };
    const lines: string[] = [];
    const shows: { readonly at: number; readonly size: number }[] = [];
    const reads: Read[] = [];
    const tokens: string[] = [];
    const show = (at: number, size: number): number => shows.push({ at, size }) - 1;
    const put = (bytes: Uint8Array): number => {
      const at = take(bytes.length);
      if (bytes.length > 0) lines.push(`s ${at} ${hex(bytes)}`);
      return at;
    };
    const fd = (value: Descriptor): string =>
      typeof value === "number" ? `${value}` : `*${this.#slot(value)}`;
    const given = [...step.arguments];
    const next = (): Argument => {
      const value = given.shift();
      if (value === undefined) throw new Error(`${step.call} wants more arguments`);
      return value;
    };
    /** Buffers that were read into, of which the count in the last 32 bits says how much. */
    let buffers: { readonly shown: number; readonly size: number }[] = [];
    const readBuffers = (bytes: readonly Buffer[], count: number): string => {
      let left = count;
      const parts = buffers.map(({ shown, size }) => {
        const part = bytes[shown]?.subarray(0, Math.min(left, size)) ?? Buffer.alloc(0);
        left -= part.length;
        return part;
      });
      return step.call === "fd_readdir"
        ? this.#entries(Buffer.concat(parts))
        : ` ${JSON.stringify(parts.map(readable).join("|"))}`;
    };
    for (const kind of parametersOf(step.call)) {
      if (kind === "fd") tokens.push(fd(next() as Descriptor));
      else if (kind === "i32" || kind === "i64") {
        const value = next();
        if (typeof value === "bigint" && value > 1_000_000n) this.#times.set(value, `T${value}`);
        tokens.push(`${value as number | bigint}`);
      } else if (kind === "text") {
        const bytes = bytesOf(next() as string | Uint8Array);
        tokens.push(`@${put(bytes)}`, `${bytes.length}`);
      } else if (kind === "ciovs" || kind === "iovs") {
        const parts = next() as readonly (string | Uint8Array | number)[];
        const at = take(parts.length * 8);
        for (const [index, part] of parts.entries()) {
          const bytes = bytesOf(part);
          const where = kind === "iovs" ? take(bytes.length) : put(bytes);
          const size = Buffer.alloc(4);
          size.writeUInt32LE(bytes.length);
          lines.push(`p ${at + index * 8} ${where}`, `s ${at + index * 8 + 4} ${hex(size)}`);
          if (kind === "iovs")
            buffers.push({ shown: show(where, bytes.length), size: bytes.length });
        }
        tokens.push(`@${at}`, `${parts.length}`);
      } else if (kind === "room") {
        const size = Number(next());
        const at = take(size);
        lines.push(`f ${at} ${size} 0`);
        const shown = show(at, size);
        if (step.call === "random_get") {
          reads.push((bytes) => (bytes[shown]?.some((byte) => byte !== 0) ? " random" : " zeros"));
        } else if (step.call === "fd_prestat_dir_name") {
          reads.push((bytes) => ` ${JSON.stringify(bytes[shown]?.toString())}`);
        } else buffers = [{ shown, size }];
        tokens.push(`@${at}`, `${size}`);
      } else if (kind === "subscriptions") {
        const subscriptions = next() as readonly Subscription[];
        const at = put(
          Buffer.concat(subscriptions.map((wanted, index) => subscription(wanted, index))),
        );
        for (const [index, wanted] of subscriptions.entries()) {
          const named = "read" in wanted ? wanted.read : "write" in wanted ? wanted.write : 0;
          if (typeof named === "string")
            lines.push(`k ${at + index * 48 + 16} ${this.#slot(named)}`);
        }
        const events = take(subscriptions.length * 32);
        const shown = show(events, subscriptions.length * 32);
        tokens.push(`@${at}`, `@${events}`, `${subscriptions.length}`);
        reads.push((bytes) => readEvents(bytes[shown] ?? Buffer.alloc(0), bytes.at(-1)));
      } else if (kind === "events" || kind === "count") {
        // Came with the subscriptions.
      } else if (kind === "list") {
        const pointers = take(16 * 4);
        const buffer = take(65_536);
        tokens.push(`@${pointers}`, `@${buffer}`);
        const [shownPointers, shown] = [show(pointers, 16 * 4), show(buffer, 1024)];
        lines.push(`f ${pointers} 64 255`, `f ${buffer} 1024 255`);
        reads.push((bytes) => readList(bytes[shownPointers], bytes[shown]));
      } else if (kind === "outfd") {
        tokens.push(`@${step.as === undefined ? take(4) : this.#slot(step.as)}`);
      } else {
        const size = sizes[kind];
        const at = take(size);
        lines.push(`f ${at} ${size} 0`);
        const shown = show(at, size);
        tokens.push(`@${at}`);
        reads.push((bytes) => {
          const found = bytes[shown] ?? Buffer.alloc(size);
          if (kind === "out32" && buffers.length > 0) {
            const count = found.readUInt32LE();
            return ` ${count}${readBuffers(bytes, count)}`;
          }
          return this.#show(kind, found, step);
        });
      }
    }
    for (const [index, value] of Object.entries(step.raw ?? {})) tokens[Number(index)] = `${value}`;
    lines.push(`c ${step.call} ${tokens.join(" ")}`);
    for (const { at, size } of shows) lines.push(`g ${at} ${size}`);
    return {
      lines,
      gets: shows.length,
      read: (bytes) => reads.map((read) => read(bytes)).join(""),
    };
  }

  #show(
    kind: keyof typeof sizes,
    bytes: Buffer,
    step: Extract<Step, { readonly call: string }>,
  ): string {
    if (kind === "out16") return ` ${bytes.readUInt16LE()}`;
    if (kind === "out32") return ` ${bytes.readUInt32LE()}`;
    if (kind === "out64") {
      const value = bytes.readBigUInt64LE();
      // A guest may have used no processor time yet.
      const used = Number(step.arguments[0]) >= 2;
      if (step.call === "clock_time_get") return value > 0n || used ? " a time" : " 0";
      if (step.call === "clock_res_get") return value > 0n ? " a resolution" : " 0";
      return ` ${value}`;
    }
    if (kind === "prestat") return ` tag=${bytes[0]} length=${bytes.readUInt32LE(4)}`;
    if (kind === "fdstat") {
      const [base, inheriting] = [bytes.readBigUInt64LE(8), bytes.readBigUInt64LE(16)];
      return ` ${filetypes[bytes[0] ?? 0]} flags=${bytes.readUInt16LE(2)} rights=${base.toString(16)} inheriting=${inheriting.toString(16)}`;
    }
    const type = filetypes[bytes[16] ?? 0];
    const [links, size] = [bytes.readBigUInt64LE(24), bytes.readBigUInt64LE(32)];
    // What a directory counts as its links and its size is the file system's own affair.
    const counts = type === "directory" ? "" : ` links=${links} size=${size}`;
    const inode = this.#inode(bytes.readBigUInt64LE(8));
    const times = [40, 48, 56].map((at) => this.#time(bytes.readBigUInt64LE(at))).join(" ");
    return ` ${type} dev=${bytes.readBigUInt64LE()} inode=${inode}${counts} times=${times}`;
  }

  #inode(value: bigint): string {
    if (value === 0n) return "0";
    const known = this.#inodes.get(value) ?? this.#inodes.size + 1;
    this.#inodes.set(value, known);
    return `#${known}`;
  }

  #time(value: bigint): string {
    const name = this.#times.get(value);
    if (name !== undefined) return name;
    if (value < 1_000_000_000_000_000_000n) return `${value}`;
    return "recent";
  }

  /** Whole entries sorted by name, since the order is the file system's own, and how many bytes of another one there were. */
  #entries(bytes: Buffer): string {
    const found: { readonly name: string; readonly kind: string; readonly inode: bigint }[] = [];
    let at = 0;
    let cookies = "";
    let last = 0n;
    while (at + 24 <= bytes.length && at + 24 + bytes.readUInt32LE(at + 16) <= bytes.length) {
      const length = bytes.readUInt32LE(at + 16);
      const cookie = bytes.readBigUInt64LE(at);
      if (cookie <= last) cookies = " cookies do not grow";
      last = cookie;
      const name = bytes.toString("utf8", at + 24, at + 24 + length);
      const kind = filetypes[bytes[at + 20] ?? 0] ?? "";
      found.push({ name, kind, inode: bytes.readBigUInt64LE(at + 8) });
      at += 24 + length;
    }
    found.sort((a, b) => (a.name < b.name ? -1 : 1));
    const own = found.find(({ name }) => name === ".")?.inode;
    // Which inode lies above is told by whether it is the directory's own.
    const words = found.map(({ name, kind, inode }) =>
      name === ".."
        ? `..:${kind}:${inode === own ? "own" : "other"}`
        : `${name}:${kind}:${this.#inode(inode)}`,
    );
    return ` [${words.join(" ")}]${cookies} rest=${bytes.length - at}`;
  }
}

const sizes = { out16: 2, out32: 4, out64: 8, filestat: 64, fdstat: 24, prestat: 8 } as const;

function subscription(wanted: Subscription, index: number): Buffer {
  const bytes = Buffer.alloc(48);
  bytes.writeBigUInt64LE(BigInt(100 + index));
  if ("tag" in wanted) bytes[8] = wanted.tag;
  else if ("clock" in wanted) {
    bytes.writeUInt32LE(wanted.clock, 16);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, wanted.timeout), 24);
    bytes.writeUInt16LE(wanted.flags ?? 0, 40);
  } else {
    const named = "read" in wanted ? wanted.read : wanted.write;
    bytes[8] = "read" in wanted ? 1 : 2;
    if (typeof named === "number") bytes.writeUInt32LE(named >>> 0, 16);
  }
  return bytes;
}

function readEvents(bytes: Buffer, count: Buffer | undefined): string {
  const events: string[] = [];
  for (let at = 0; at < (count?.readUInt32LE() ?? 0) * 32; at += 32) {
    const type = ["clock", "read", "write"][bytes[at + 10] ?? 9] ?? "?";
    const error = errnos[bytes.readUInt16LE(at + 8)];
    const some = bytes.readBigUInt64LE(at + 16) === 0n ? "0" : "some";
    events.push(
      `${bytes.readBigUInt64LE(at)}:${type}:${error}${type === "clock" ? "" : `:${some}:${bytes.readUInt16LE(at + 24)}`}`,
    );
  }
  return ` [${events.join(" ")}]`;
}

/** Strings that end in NUL; the second is the script itself and left out. */
function readList(pointers: Buffer | undefined, bytes: Buffer | undefined): string {
  const found: string[] = [];
  if (!pointers || !bytes) return " nothing";
  const first = pointers.readUInt32LE();
  for (let at = 0; at < 64; at += 4) {
    const pointer = pointers.readUInt32LE(at);
    if (pointer === 0xffff_ffff) break;
    const start = pointer - first;
    const end = bytes.indexOf(0, start);
    if (end >= 0) found.push(bytes.toString("utf8", start, end));
  }
  return ` ${JSON.stringify(found.filter((text) => !text.includes("\n")))}`;
}

function readable(bytes: Buffer): string {
  const text = bytes.toString("utf8");
  if (text.length > 64 && new Set(bytes).size === 1) return `${bytes.length} times ${text[0]}`;
  return Buffer.from(text).equals(bytes) ? text : `hex ${bytes.toString("hex")}`;
}
