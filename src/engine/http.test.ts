import assert from "node:assert/strict";
import { resolve } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../errors/mod.ts";
import { defaultLimits } from "../limits/mod.ts";
import { createEngine, type HttpHandler, type Result, type RunOptions } from "./mod.ts";

const client = resolve(import.meta.dirname, "../../test/guests/http/http.wasm");
const engine = createEngine({ threads: 2 });
after(() => engine[Symbol.asyncDispose]());

async function run(command: readonly string[], options: RunOptions = {}): Promise<Result> {
  const limits = { ...defaultLimits, timeMs: 30_000 };
  const module = await engine.load({ path: client }, { limits });
  return engine.run(
    module,
    { arguments: ["http", ...command], environment: new Map(), mounts: [], collect: [], limits },
    options,
  );
}

const printed = (result: Result): string => Buffer.from(result.stdout).toString();

async function* pieces(...texts: readonly string[]): AsyncGenerator<Uint8Array, undefined> {
  for (const text of texts) yield Buffer.from(text);
}

describe("a guest's HTTP requests", () => {
  test("are denied when nobody answers them", async () => {
    const result = await run(["GET", "http://example.com/"]);
    assert.equal(result.kind === "exited" && result.exitCode, 3);
    assert.equal(
      printed(result),
      "send: errno 2: no host is allowed; a step lists them under permissions.http.allowedHosts\n",
    );
  });

  test("arrive as they were made, and the answer comes back in pieces of any size", async () => {
    const seen: unknown[] = [];
    const http: HttpHandler = async ({ body, ...request }) => {
      seen.push({ ...request, body: Buffer.from(body).toString() });
      return { status: 207, headers: [["a", "b\xe9"]], body: pieces("hello, ", "", "world") };
    };
    const command = ["POST", "https://a.example/ä?q", "-H", "x: é", "-d", "body", "-r", "3"];
    const result = await run([...command, "-t", "9", "-b", "2", "-i", "1"], { http });
    assert.deepEqual(seen, [
      {
        method: "POST",
        url: "https://a.example/ä?q",
        headers: [["x", " Ã©"]],
        body: "body",
        redirects: 3,
        timeoutMs: 9,
      },
    ]);
    assert.equal(Buffer.from(result.stdout).toString("latin1"), "207\na: b\xe9\n\nhello, world");
  });

  test("that fail are told with a number and the reason", async () => {
    const failing = (failure: unknown): Promise<Result> =>
      run(["GET", "http://x/"], {
        http: async () => {
          throw failure;
        },
      });
    const denied = await failing(new Failure("network-denied", "No", { hint: "Add it." }));
    assert.equal(printed(denied), "send: errno 2: network-denied: No. Add it.\n");
    assert.match(printed(await failing(new Failure("network-timeout", "Late"))), /errno 73: /);
    assert.match(printed(await failing(new Failure("network-invalid", "Bad"))), /errno 28: /);
    assert.match(printed(await failing(new Failure("network-failed", "Gone"))), /errno 29: /);
  });

  test("that meet a ceiling stop the guest with its code", async () => {
    const result = await run(["GET", "http://x/"], {
      http: async () => {
        throw new Failure("limit-memory", "Too much");
      },
    });
    assert.ok(result.kind === "stopped");
    assert.equal(result.failure.code, "limit-memory");
  });

  test("hold no thread: 300 guests wait on 2 threads, and another runs meanwhile", async () => {
    const open: string[] = [];
    let release = (): void => undefined;
    const released = new Promise<void>((done) => (release = done));
    const waiting = Array.from({ length: 300 }, () =>
      run(["GET", "http://x/"], {
        http: async ({ url }) => {
          open.push(url);
          await released;
          return { status: 200, headers: [], body: pieces("late") };
        },
      }),
    );
    while (open.length < 300) await sleep(5);
    const other = await run(["GET", "http://x/"], {
      http: async () => ({ status: 200, headers: [], body: pieces("now") }),
    });
    assert.equal(printed(other), "200\nnow");
    release();
    for (const result of await Promise.all(waiting)) assert.equal(printed(result), "200\nlate");
  });

  test("end with the guest: the handler hears of it, and open bodies are let go", async () => {
    const stop = new AbortController();
    let heard = false;
    const waiting = run(["GET", "http://x/"], {
      signal: stop.signal,
      http: async (_request, { signal }) => {
        setTimeout(() => stop.abort(), 20);
        await new Promise((done) => signal.addEventListener("abort", done));
        heard = true;
        throw new Failure("aborted", "Stopped");
      },
    });
    const result = await waiting;
    assert.ok(result.kind === "stopped");
    assert.equal(result.failure.code, "aborted");
    await sleep(1);
    assert.ok(heard);
    let returned = 0;
    const body = {
      next: async () => ({ done: true, value: undefined }) as const,
      return: async () => {
        returned++;
        return { done: true, value: undefined } as const;
      },
    };
    await run(["GET", "http://x/", "-n", "3", "-k", "2"], {
      http: async () => ({ status: 200, headers: [], body }),
    });
    assert.equal(returned, 5);
  });
});
