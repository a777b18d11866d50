// Every fault of the front against one operation: once, at each of its requests, and always. The right bytes or a failure that says what is wrong; no wrong byte, no hang, nothing left behind.
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { Failure, type Code } from "../../src/errors/mod.ts";
import { FaultyFront, type Fault, type Passed } from "./faulty.ts";

export interface Operation {
  /** The server behind the front. */
  readonly target: string;
  /** Bytes of the largest body that goes through the front. */
  readonly bytes: number;
  /** Codes of failures that this kind of operation may have. */
  readonly codes: readonly Code[];
  /** Does it once through the front, in places of its own, and checks every byte of what came of it. */
  readonly run: (front: FaultyFront) => Promise<void>;
  /** What lies around after a run that should not. `passed`: what the front saw of it. */
  readonly left: (passed: readonly Passed[]) => Promise<readonly string[]>;
}

/** `passes`: it must succeed. `fails`: it must not. `either`: both are fine, as long as no byte is wrong. */
type Expected = "passes" | "fails" | "either";

interface Row {
  readonly name: string;
  /** Made anew for each request that has it. */
  readonly fault: () => Fault;
  /** One request has it. */
  readonly once: Expected;
  /** Every request has it. */
  readonly always: Expected;
}

/** What the protocols let happen. Places in bodies come from the seed. */
function rows(bytes: number, chance: () => number): readonly Row[] {
  const place = (): number => Math.floor(chance() * bytes);
  const status = (status: number, headers: Readonly<Record<string, string>> = {}): Fault => ({
    kind: "status",
    status,
    headers,
  });
  const row = (
    name: string,
    fault: Fault | (() => Fault),
    once: Expected,
    always: Expected,
  ): Row => ({ name, fault: typeof fault === "function" ? fault : () => fault, once, always });
  const bit = (of: "answer" | "request", below: number) => (): Fault => ({
    kind: "corrupt",
    of,
    atByte: Math.floor(chance() * below),
  });
  const cutAt = place();
  const sentAt = place();
  const stallAt = place();
  const endAt = place();
  return [
    row("the connection is refused", { kind: "refuse" }, "passes", "fails"),
    row(`the answer is cut at its start`, cut("answer", 0), "passes", "either"),
    row(`the answer is cut after ${cutAt} bytes`, cut("answer", cutAt), "passes", "either"),
    row(`the request is cut after ${sentAt} bytes`, cut("request", sentAt), "passes", "either"),
    row("the answer is lost", { kind: "lose" }, "passes", "fails"),
    row("nothing is answered", { kind: "silence" }, "passes", "fails"),
    row(
      `the answer stops after ${stallAt} bytes`,
      { kind: "stall", afterBytes: stallAt },
      "passes",
      "either",
    ),
    row("the answer is slow", { kind: "slow", bytesPerSecond: 8 * bytes }, "passes", "passes"),
    // Always at the same place, it would be what the server has.
    row("a bit of the answer", bit("answer", bytes), "either", "either"),
    row("a bit of the beginning of the answer", bit("answer", 100), "either", "either"),
    row("a bit of the request", bit("request", bytes), "either", "either"),
    row("blocks in another order", { kind: "reorder", blockBytes: 500 }, "either", "either"),
    row("a block twice", { kind: "duplicate", blockBytes: 500 }, "either", "either"),
    row(
      `a good end after ${endAt} bytes`,
      { kind: "shorten", afterBytes: endAt },
      "either",
      "either",
    ),
    row("no body at all", { kind: "shorten", afterBytes: 0 }, "either", "either"),
    row("400", status(400), "either", "fails"),
    row("401", status(401), "either", "fails"),
    row("403", status(403), "either", "fails"),
    row("404", status(404), "either", "fails"),
    row("408", status(408), "passes", "fails"),
    row("429", status(429, { "retry-after": "0" }), "passes", "fails"),
    row("429 for an hour", status(429, { "retry-after": "3600" }), "fails", "fails"),
    row("500", status(500), "passes", "fails"),
    row("503", status(503), "passes", "fails"),
    row("done twice", { kind: "twice" }, "either", "either"),
    row("everything instead of a range", { kind: "whole" }, "either", "passes"),
    row("the login is gone", { kind: "no-login" }, "either", "either"),
    row("closed when idle", { kind: "close" }, "passes", "passes"),
  ];
}

function cut(of: "answer" | "request", afterBytes: number): Fault {
  return { kind: "cut", of, afterBytes };
}

/** No run takes longer: the clients of the tests wait for seconds at most. */
const longestMs = 30_000;

async function bounded(work: Promise<void>): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const hang = new Promise<never>((_done, failed) => {
    timer = setTimeout(() => failed(new Error(`a hang: ${longestMs} ms`)), longestMs);
  });
  try {
    await Promise.race([work, hang]);
    return undefined;
  } catch (error) {
    return error;
  } finally {
    clearTimeout(timer);
  }
}

function judge(expected: Expected, error: unknown, codes: readonly Code[]): string | undefined {
  if (error === undefined) return expected === "fails" ? "it succeeded" : undefined;
  if (!(error instanceof Failure)) return inspect(error);
  if (!codes.includes(error.code)) return `it failed with ${error.code}: ${error.message}`;
  return expected === "passes" ? `it failed: ${error.code}: ${error.message}` : undefined;
}

export interface MatrixOptions {
  readonly seed: number;
  /** Every fault at every request; default: at one that the seed chooses. */
  readonly whole?: boolean;
  /** So many faults, which the seed chooses; default: all. */
  readonly most?: number;
  /** What must succeed, beside what always must. */
  readonly passes?: (run: string) => boolean;
  /** What is not tried, with the reason in the code that calls. */
  readonly except?: (run: string) => boolean;
}

/** Runs it all and throws with every line that is not as it should be. Tells how many runs there were. */
export async function faultMatrix(
  operation: Operation,
  { seed, whole = false, most = Infinity, passes, except }: MatrixOptions,
): Promise<number> {
  const chance = randomOf(seed);
  const wrong: string[] = [];
  let runs = 0;
  const run = async (
    name: string,
    expected: Expected,
    faultOf: (count: number) => Fault | undefined,
  ): Promise<readonly Passed[]> => {
    if (except?.(name) === true) return [];
    await using front = await FaultyFront.start({
      target: operation.target,
      fault: ({ count }) => faultOf(count),
    });
    runs += 1;
    const must = passes?.(name) === true ? "passes" : expected;
    const said = judge(must, await bounded(operation.run(front)), operation.codes);
    const hit = front.passed.find(({ fault }) => fault !== undefined);
    const place = hit ? ` (${hit.method} ${hit.url.slice(0, 80)})` : "";
    if (said !== undefined) wrong.push(`${name}${place}: ${said}`);
    for (const thing of await operation.left(front.passed)) {
      wrong.push(`${name}${place}: left behind: ${thing}`);
    }
    return front.passed;
  };
  const clean = await run("nothing goes wrong", "passes", () => undefined);
  const all = rows(operation.bytes, chance).map((row) => ({ row, order: chance() }));
  const chosen = all.toSorted((one, other) => one.order - other.order).slice(0, most);
  for (const { name, fault, once, always } of chosen.map(({ row }) => row)) {
    const request = Math.floor(chance() * clean.length);
    for (let at = 0; at < clean.length; at += 1) {
      if (!whole && at !== request) continue;
      await run(`${name}, at request ${at}`, once, (count) => (count === at ? fault() : undefined));
    }
    await run(`${name}, always`, always, fault);
  }
  assert.deepEqual(wrong, [], `seed ${seed}`);
  return runs;
}

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
