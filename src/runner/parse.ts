import { codes, Failure, type Code, type FailureRecord } from "../errors/mod.ts";
import { ceilings, type LimitKey } from "../limits/mod.ts";
import type { Usage } from "../engine/mod.ts";
import type { HttpRequest } from "../wasi/mod.ts";

/** What a runner process says, after it was looked at. */
export type FromRunner =
  | { readonly type: "ready" }
  | {
      readonly type: "loaded";
      readonly id: number;
      readonly compileMs: number;
      readonly imports: readonly string[];
      readonly exports: readonly string[];
    }
  | { readonly type: "refused"; readonly id: number; readonly failure: FailureRecord }
  | {
      readonly type: "output";
      readonly id: number;
      readonly stream: "stdout" | "stderr";
      readonly bytes: Uint8Array;
    }
  | { readonly type: "done"; readonly id: number; readonly result: SaidResult }
  | {
      readonly type: "send";
      readonly id: number;
      readonly call: number;
      readonly request: HttpRequest;
    }
  | {
      readonly type: "read";
      readonly id: number;
      readonly call: number;
      readonly handle: number;
    }
  | { readonly type: "close"; readonly id: number; readonly handle: number }
  | { readonly type: "drain"; readonly id: number; readonly call: number };

export interface SaidResult {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly usage: Usage;
  readonly limitsReached: readonly LimitKey[];
  readonly end:
    | { readonly kind: "exited"; readonly exitCode: number }
    | { readonly kind: "trapped"; readonly message: string; readonly stack: readonly string[] }
    | { readonly kind: "stopped" | "failed"; readonly failure: FailureRecord };
  readonly collected: readonly SaidCollected[];
}

/** Where bytes are: here, in a file that the process wrote, or in one that it was given. */
export type SaidBytes =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "written"; readonly file: string; readonly size: number }
  | {
      readonly kind: "given";
      readonly file: string;
      readonly offset: number;
      readonly size: number;
    };

type SaidEntry =
  | {
      readonly kind: "file";
      readonly path: string;
      readonly mode: number;
      readonly content: SaidBytes;
    }
  | { readonly kind: "directory"; readonly path: string; readonly mode: number }
  | { readonly kind: "symlink"; readonly path: string; readonly target: string };

export type SaidCollected =
  | { readonly kind: "missing" }
  | { readonly kind: "file"; readonly mode: number; readonly content: SaidBytes }
  | { readonly kind: "directory"; readonly entries: readonly SaidEntry[] };

/** Texts that are shown to people and kept in journals. */
const shownTextBytes = 16 * 1024;
const stackFrames = 256;
const requestHeaders = 1024;
const longestTimerMs = 2 ** 31 - 1;

/** Looks at a message of a runner process. Throws for whatever such a process of ours would not say. */
export function parse(header: unknown, body: Uint8Array): FromRunner {
  const said = record(header, "a message");
  const { type } = said;
  if (type === "ready") return { type };
  const id = count(said["id"], "id");
  if (type === "loaded") {
    return {
      type,
      id,
      compileMs: amount(said["compileMs"], "compileMs"),
      imports: texts(said["imports"], "imports"),
      exports: texts(said["exports"], "exports"),
    };
  }
  if (type === "refused") return { type, id, failure: failure(said["failure"]) };
  if (type === "output") {
    const stream = said["stream"] === "stdout" ? "stdout" : "stderr";
    if (body.length === 0) throw wrong("output", "nothing");
    return { type, id, stream, bytes: new Uint8Array(body) };
  }
  if (type === "done") return { type, id, result: result(record(said["result"], "result"), body) };
  if (type === "send") {
    const call = count(said["call"], "call");
    return { type, id, call, request: request(record(said["request"], "request"), body) };
  }
  if (type === "read") {
    return {
      type,
      id,
      call: count(said["call"], "call"),
      handle: count(said["handle"], "handle"),
    };
  }
  if (type === "drain") return { type, id, call: count(said["call"], "call") };
  if (type === "close") return { type, id, handle: count(said["handle"], "handle") };
  throw wrong("type", type);
}

function result(said: Fields, body: Uint8Array): SaidResult {
  return {
    stdout: spanned(said["stdout"], body),
    stderr: spanned(said["stderr"], body),
    usage: usage(record(said["usage"], "usage")),
    limitsReached: [...new Set(list(said["limitsReached"], "limitsReached").filter(isLimitKey))],
    end: end(record(said["end"], "end")),
    collected: list(said["collected"], "collected").map((item) => collected(item, body)),
  };
}

function isLimitKey(key: unknown): key is LimitKey {
  return typeof key === "string" && Object.hasOwn(ceilings, key);
}

function usage(said: Fields): Usage {
  return {
    instantiateMs: amount(said["instantiateMs"], "instantiateMs"),
    runMs: amount(said["runMs"], "runMs"),
    cpuMs: amount(said["cpuMs"], "cpuMs"),
    memoryBytes: count(said["memoryBytes"], "memoryBytes"),
    filesCreated: count(said["filesCreated"], "filesCreated"),
    filesBytesWritten: count(said["filesBytesWritten"], "filesBytesWritten"),
  };
}

function end(said: Fields): SaidResult["end"] {
  const { kind } = said;
  if (kind === "exited") {
    const { exitCode } = said;
    if (typeof exitCode !== "number" || !Number.isSafeInteger(exitCode))
      throw wrong("exitCode", exitCode);
    return { kind, exitCode };
  }
  if (kind === "trapped") {
    const stack = texts(said["stack"], "stack").slice(0, stackFrames).map(shown);
    return { kind, message: shown(text(said["message"], "message")), stack };
  }
  if (kind === "stopped" || kind === "failed") return { kind, failure: failure(said["failure"]) };
  throw wrong("kind", kind);
}

function failure(value: unknown): FailureRecord {
  const said = record(value, "failure");
  const { code, hint } = said;
  if (!isCode(code)) throw wrong("code", code);
  const message = shown(text(said["message"], "message"));
  // Whether a retry helps is said by our own table.
  const options = hint === undefined ? {} : { hint: shown(text(hint, "hint")) };
  return new Failure(code, message, options).toJSON();
}

function isCode(code: unknown): code is Code {
  return typeof code === "string" && Object.hasOwn(codes, code);
}

function collected(value: unknown, body: Uint8Array): SaidCollected {
  const said = record(value, "collected");
  const { kind } = said;
  if (kind === "missing") return { kind };
  if (kind === "file") {
    return { kind, mode: mode(said["mode"]), content: bytesOf(said["content"], body) };
  }
  if (kind === "directory") {
    return { kind, entries: list(said["entries"], "entries").map((item) => entry(item, body)) };
  }
  throw wrong("kind", kind);
}

function entry(value: unknown, body: Uint8Array): SaidEntry {
  const [kind, at, third, fourth] = list(value, "entry");
  const path = entryPath(at);
  if (kind === "f") {
    return { kind: "file", path, mode: mode(third), content: bytesOf(fourth, body) };
  }
  if (kind === "d") return { kind: "directory", path, mode: mode(third) };
  if (kind === "l") return { kind: "symlink", path, target: text(third, "target") };
  throw wrong("entry", kind);
}

/** A relative path that stays where it is; a directory's own is empty. */
function entryPath(value: unknown): string {
  const path = text(value, "path");
  if (path === "") return path;
  const parts = path.split("/");
  const leads = parts.some((part) => part === "" || part === "." || part === "..");
  if (leads || path.includes("\0")) throw wrong("path", path);
  return path;
}

function bytesOf(value: unknown, body: Uint8Array): SaidBytes {
  const [first, second, third] = list(value, "content");
  if (typeof first === "number")
    return { kind: "bytes", bytes: spanned([first, second] as const, body) };
  const name = text(first, "file");
  const written = /^out\/([a-z0-9-]{1,64}\/[a-z0-9-]{1,64})$/.exec(name)?.[1];
  const offset = count(second, "offset");
  const size = count(third, "size");
  if (written !== undefined && offset === 0) return { kind: "written", file: written, size };
  const given = /^in\/([0-9]{1,16}-[0-9]{1,16})$/.exec(name)?.[1];
  if (given !== undefined) return { kind: "given", file: given, offset, size };
  throw wrong("file", name);
}

function request(said: Fields, body: Uint8Array): HttpRequest {
  const headers = list(said["headers"], "headers");
  if (headers.length > requestHeaders) throw wrong("headers", headers.length);
  const { timeoutMs } = said;
  return {
    method: text(said["method"], "method"),
    url: text(said["url"], "url"),
    headers: headers.map((header) => {
      const [name, value] = texts(header, "header");
      return [name ?? "", value ?? ""] as const;
    }),
    body: new Uint8Array(body),
    ...(timeoutMs === undefined
      ? {}
      : { timeoutMs: Math.min(amount(timeoutMs, "timeoutMs"), longestTimerMs) }),
    redirects: count(said["redirects"], "redirects"),
  };
}

/** A copy of its own: a view would keep all that came with it, and whoever gets it may change it. */
function spanned(value: unknown, body: Uint8Array): Uint8Array {
  const [at, length] = list(value, "bytes").map((item) => count(item, "bytes"));
  if (at === undefined || length === undefined || at + length > body.length) {
    throw wrong("bytes", `${at} ${length}`);
  }
  return new Uint8Array(body.subarray(at, at + length));
}

type Fields = Readonly<Record<string, unknown>>;

function record(value: unknown, name: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(name, value);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an object's fields are unknown, which is what the type says
  return value as Fields;
}

function list(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw wrong(name, value);
  return value;
}

function text(value: unknown, name: string): string {
  if (typeof value !== "string") throw wrong(name, value);
  return value;
}

function texts(value: unknown, name: string): readonly string[] {
  return list(value, name).map((item) => text(item, name));
}

function shown(value: string): string {
  return value.length > shownTextBytes ? `${value.slice(0, shownTextBytes)}…` : value;
}

function amount(value: unknown, name: string): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) throw wrong(name, value);
  return value;
}

function count(value: unknown, name: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw wrong(name, value);
  return value;
}

function mode(value: unknown): number {
  return count(value, "mode") & 0o777;
}

function wrong(name: string, value: unknown): Error {
  const plain = ["string", "number", "boolean", "undefined"].includes(typeof value);
  const found = plain ? JSON.stringify(value ?? null).slice(0, 40) : "something else";
  return new Error(`${name} is ${found}`);
}
