import { readFile } from "node:fs/promises";
import type { Mount, Result } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import type { Limits } from "../limits/mod.ts";
import type { MapProgram } from "./mod.ts";
import { trimmed } from "./outputs.ts";

/** Items of one map. */
const mostItems = 100_000;
/** Bytes of a list of items, and of one that an artifact has. */
const itemsBytes = 16 * 1024 * 1024;
/** All results of one map are held until it has ended. */
const resultsBytes = 32 * 1024 * 1024;
/** One result, as that of any step. */
const resultBytes = 256 * 1024;
const usualParallelism = 8;
const mostParallelism = 64;
const newline = 10;
/** A longer line of an item is written in pieces. */
const lineBytes = 64 * 1024;

/** What each of many invocations is given. */
interface Invoke {
  (
    fill: (text: string) => string,
    own: {
      readonly environment: ReadonlyMap<string, string>;
      readonly limits: Limits;
      readonly signal: AbortSignal;
      readonly onOutput: (stream: "stdout" | "stderr", bytes: Uint8Array) => void;
    },
  ): Promise<Result>;
}

export interface MapOptions {
  readonly invoke: Invoke;
  readonly limits: Limits;
  /** Wall time of all of them together. */
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
  /** Gets what items print, a whole line each. */
  readonly write: (stream: "stdout" | "stderr", bytes: Uint8Array) => void;
}

/** What became of one item. */
interface ItemResult {
  readonly index: number;
  /** The end of one that did not succeed. */
  readonly failed?: Result | Failure;
  /** JSON. */
  readonly result: string;
}

export interface Mapped {
  /** A JSON list of the results in the order of the items; null for one that failed. */
  readonly list: Uint8Array;
  /** A line of JSON for each item, in their order. */
  readonly lines: Uint8Array;
  readonly count: number;
  readonly failures: number;
  /** The first one beyond what is tolerated. */
  readonly end: ItemResult | undefined;
  readonly usage: Result["usage"];
  readonly limitsReached: Result["limitsReached"];
}

/** The items of a map, out of its own list or a file. Throws `workflow-invalid` for what is no list, or too long. */
export async function itemsOf(
  { items, artifact }: MapProgram,
  contentOf: (name: string) => Mount["content"] | undefined,
): Promise<readonly unknown[]> {
  if (artifact === undefined) {
    const list = typeof items === "string" ? parsed(items, "map.items") : items;
    if (!Array.isArray(list))
      throw invalid("map.items is no list", "Write a list, or text that is a JSON list.");
    return counted(list);
  }
  const content = contentOf(artifact);
  if (content?.kind !== "file") {
    const what = content ? "is a folder" : "is none of the step's inputs";
    throw invalid(
      `The artifact "${artifact}" of map ${what}`,
      "Name an input artifact that is a file.",
    );
  }
  const bytes = await read(content.content, artifact);
  const text = bytes.toString();
  if (/^\s*\[/.test(text)) {
    const list = parsed(text, `The artifact "${artifact}"`);
    return counted(Array.isArray(list) ? list : []);
  }
  const found: unknown[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() !== "")
      found.push(parsed(line, `Line ${index + 1} of the artifact "${artifact}"`));
  }
  return counted(found);
}

async function read(
  content: Extract<Mount["content"], { readonly kind: "file" }>["content"],
  name: string,
): Promise<Buffer> {
  const size = content.kind === "bytes" ? content.bytes.length : content.size;
  if (size > itemsBytes) {
    throw invalid(
      `The artifact "${name}" has ${size} bytes; a list of items may have ${itemsBytes}`,
      "Split it, or let items name parts of a file.",
    );
  }
  if (content.kind === "bytes") return Buffer.from(content.bytes);
  return (await readFile(content.path)).subarray(content.offset, content.offset + size);
}

function parsed(text: string, what: string): unknown {
  if (text.length > itemsBytes)
    throw invalid(`${what} has more than ${itemsBytes} bytes`, "Give an artifact.");
  try {
    return JSON.parse(text);
  } catch {
    const begin = text.length > 60 ? `${text.slice(0, 60)}…` : text;
    throw invalid(
      `${what} is no JSON: ${begin}`,
      'Write a JSON list, such as ["a", "b"], or a JSON value a line.',
    );
  }
}

function counted(items: readonly unknown[]): readonly unknown[] {
  if (items.length <= mostItems) return items;
  throw invalid(
    `map has ${items.length} items; ${mostItems} may be`,
    "Split the list over several steps.",
  );
}

function invalid(message: string, hint: string): Failure {
  return new Failure("workflow-invalid", message, { hint });
}

/** Runs the program for each item, in the order of the list as far as it can be, until more have failed than is tolerated. */
export async function runMap(
  { parallelism = usualParallelism, maxFailures = 0 }: MapProgram,
  items: readonly unknown[],
  { invoke, limits, timeoutMs, signal, write }: MapOptions,
): Promise<Mapped> {
  const over = new AbortController();
  const stopped = signal ? AbortSignal.any([over.signal, signal]) : over.signal;
  const until = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
  const done: ItemResult[] = [];
  const reached = new Set<Result["limitsReached"][number]>();
  let usage: Result["usage"] | undefined;
  let next = 0;
  let size = 0;
  let failures = 0;
  let end: ItemResult | undefined;
  const log = new ItemLog(write, limits.outputBytes);
  const one = async (index: number): Promise<ItemResult> => {
    const item = items[index];
    const lines = log.of(index);
    try {
      const left = until === undefined ? limits.timeMs : until - performance.now();
      if (left <= 0) {
        const message = `The map exceeded its time after ${done.length} of ${items.length} items`;
        throw new Failure("limit-time", message, { hint: "Raise the deadline, or parallelism." });
      }
      const result = await invoke((text) => filled(text, item, index), {
        environment: new Map([
          ["ATALANTA_ITEM", textOf(item)],
          ["ATALANTA_ITEM_INDEX", String(index)],
        ]),
        limits: { ...limits, timeMs: Math.min(limits.timeMs, left) },
        signal: stopped,
        onOutput: lines.write,
      });
      usage = usage ? sum(usage, result.usage) : result.usage;
      for (const key of result.limitsReached) reached.add(key);
      if (result.kind !== "exited" || result.exitCode !== 0)
        return { index, failed: result, result: "null" };
      const text = trimmed(result.stdout);
      if (result.stdout.length > resultBytes) {
        throw new Failure(
          "output-too-large",
          `The result of an item has ${result.stdout.length} bytes; the ceiling is ${resultBytes}`,
          { hint: "Print less, or leave files in a store." },
        );
      }
      return { index, result: asJson(text) };
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      return { index, failed: thrown, result: "null" };
    } finally {
      lines.end();
    }
  };
  const work = async (): Promise<void> => {
    while (next < items.length && !over.signal.aborted) {
      const index = next;
      next += 1;
      const ended = await one(index);
      if (over.signal.aborted) return;
      done.push(ended);
      size += ended.result.length;
      if (ended.failed) failures += 1;
      if (failures > maxFailures) end ??= ended;
      if (size > resultsBytes) {
        const message = `The results of ${done.length} of ${items.length} items have ${size} bytes; the ceiling is ${resultsBytes}`;
        const hint = "Print less, or leave files in a store.";
        end ??= {
          index,
          failed: new Failure("output-too-large", message, { hint }),
          result: "null",
        };
      }
      if (end) over.abort(new Failure("aborted", "Another item failed"));
    }
  };
  const workers = Math.min(items.length, Math.max(1, parallelism), mostParallelism);
  await Promise.all(Array.from({ length: workers }, work));
  signal?.throwIfAborted();
  const ordered = done.toSorted((before, after) => before.index - after.index);
  return {
    list: Buffer.from(`[${ordered.map(({ result }) => result).join(",")}]`),
    lines: Buffer.from(ordered.map((item) => `${lineOf(item)}\n`).join("")),
    count: items.length,
    failures,
    end,
    usage: usage ?? nothing,
    limitsReached: [...reached],
  };
}

const nothing: Result["usage"] = {
  cpuMs: 0,
  runMs: 0,
  instantiateMs: 0,
  memoryBytes: 0,
  filesCreated: 0,
  filesBytesWritten: 0,
};

function sum(one: Result["usage"], other: Result["usage"]): Result["usage"] {
  return {
    cpuMs: one.cpuMs + other.cpuMs,
    runMs: one.runMs + other.runMs,
    instantiateMs: one.instantiateMs + other.instantiateMs,
    memoryBytes: Math.max(one.memoryBytes, other.memoryBytes),
    filesCreated: one.filesCreated + other.filesCreated,
    filesBytesWritten: one.filesBytesWritten + other.filesBytesWritten,
  };
}

function lineOf({ index, failed, result }: ItemResult): string {
  if (!failed) return `{"index":${index},"phase":"Succeeded","result":${result}}`;
  const exitCode =
    failed instanceof Failure || failed.kind !== "exited" ? {} : { exitCode: failed.exitCode };
  return JSON.stringify({ index, phase: "Failed", ...exitCode, message: endOf(failed) });
}

/** Why an item did not succeed. */
function endOf(failed: Result | Failure): string {
  if (failed instanceof Failure) return failed.message;
  if (failed.kind === "exited") return `Error (exit code ${failed.exitCode})`;
  if (failed.kind === "trapped") return `Trap: ${failed.message}`;
  return failed.failure.message;
}

/** As Argo takes the results of a loop's items. */
function asJson(text: string): string {
  try {
    JSON.parse(text);
    return text;
  } catch {
    return JSON.stringify(text);
  }
}

function textOf(item: unknown): string {
  return typeof item === "string" ? item : (JSON.stringify(item) ?? "");
}

/** `$(item)`, `$(item.key)` and `$(index)`; `$$(item)` is that text itself, as Kubernetes has it for variables. */
function filled(text: string, item: unknown, index: number): string {
  return text.replaceAll(
    /\$(\$)?\((item(?:\.[^()]+)?|index)\)/g,
    (whole, escape: string | undefined, name: string) => {
      if (escape !== undefined) return whole.slice(1);
      if (name === "index") return String(index);
      let value = item;
      for (const key of name.split(".").slice(1)) {
        const isThere = typeof value === "object" && value !== null && Object.hasOwn(value, key);
        if (!isThere) {
          throw invalid(
            `Item ${index} has no "${name.slice("item.".length)}", which ${whole} asks for`,
            "Look at the list of items.",
          );
        }
        value = Reflect.get(Object(value), key);
      }
      return textOf(value);
    },
  );
}

/** The lines of all items in one log, each with the index of its item before it. */
class ItemLog {
  readonly #write: MapOptions["write"];
  #left: number;

  constructor(write: MapOptions["write"], most: number) {
    this.#write = write;
    this.#left = most;
  }

  of(index: number): { readonly write: MapOptions["write"]; readonly end: () => void } {
    const open = new Map<"stdout" | "stderr", Buffer>();
    const prefix = Buffer.from(`[${index}] `);
    const write: MapOptions["write"] = (stream, bytes) => {
      let rest = Buffer.concat([open.get(stream) ?? Buffer.alloc(0), bytes]);
      for (let at = rest.indexOf(newline); at >= 0; at = rest.indexOf(newline)) {
        this.#line(stream, prefix, rest.subarray(0, at + 1));
        rest = rest.subarray(at + 1);
      }
      if (rest.length > lineBytes) {
        this.#line(stream, prefix, Buffer.concat([rest, Buffer.from("\n")]));
        rest = Buffer.alloc(0);
      }
      open.set(stream, rest);
    };
    return {
      write,
      end: () => {
        for (const [stream, rest] of open)
          if (rest.length > 0) this.#line(stream, prefix, Buffer.concat([rest, Buffer.from("\n")]));
      },
    };
  }

  #line(stream: "stdout" | "stderr", prefix: Uint8Array, line: Uint8Array): void {
    if (this.#left <= 0) return;
    this.#left -= prefix.length + line.length;
    this.#write(stream, Buffer.concat([prefix, line]));
    if (this.#left <= 0) {
      this.#write(
        "stderr",
        Buffer.from("[atalanta] The rest of the log is left out (limits.output)\n"),
      );
    }
  }
}
