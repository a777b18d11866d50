import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import type { HttpHandler, Mount, Result } from "../../src/engine/mod.ts";
import { Failure } from "../../src/errors/mod.ts";
import { defaultLimits, type Limits } from "../../src/limits/mod.ts";
import { createRunners } from "../../src/runner/mod.ts";

const guests = resolve(import.meta.dirname, "../guests");
const probe = resolve(guests, "probe/probe.wasm");
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const file = (path: string, content: string, readOnly = false): Mount => ({
  path,
  readOnly,
  content: { kind: "file", mode: 0o644, content: { kind: "bytes", bytes: Buffer.from(content) } },
});

for (const trust of ["thread", "process"] as const) {
  describe(`the engine of class "${trust}"`, () => {
    const runners = createRunners({ threads: 2, spares: 0 });
    const engine = runners.engine({ trust, owner: "a" });
    const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
    after(async () => {
      await runners[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    });

    interface Options {
      readonly mounts?: readonly Mount[];
      readonly collect?: readonly string[];
      readonly limits?: Partial<Limits>;
      readonly signal?: AbortSignal;
      readonly stdin?: string;
      readonly environment?: ReadonlyMap<string, string>;
      readonly onOutput?: (stream: string, bytes: Uint8Array) => void;
      readonly http?: HttpHandler;
    }

    async function run(
      command: readonly string[],
      options: Options = {},
      path = probe,
    ): Promise<Result> {
      const limits = { ...defaultLimits, ...options.limits };
      const module = await engine.load({ path }, { limits });
      const { signal, onOutput, http } = options;
      return engine.run(
        module,
        {
          arguments: ["probe", ...command],
          environment: options.environment ?? new Map(),
          stdin: Buffer.from(options.stdin ?? ""),
          mounts: options.mounts ?? [],
          collect: options.collect ?? [],
          limits,
        },
        {
          ...(signal ? { signal } : {}),
          ...(onOutput ? { onOutput } : {}),
          ...(http ? { http } : {}),
        },
      );
    }

    function exited(result: Result, code = 0): string {
      assert.equal(
        result.kind,
        "exited",
        JSON.stringify({ ...result, stderr: text(result.stderr) }),
      );
      if (result.kind === "exited") assert.equal(result.exitCode, code, text(result.stderr));
      return text(result.stdout);
    }

    test("a module tells what it imports and exports", async () => {
      const module = await engine.load({ path: probe });
      assert.match(module.digest, /^sha256:[0-9a-f]{64}$/);
      assert.equal(module.sizeBytes, statSync(probe).size);
      assert.ok(module.exports.includes("_start"));
      assert.ok(module.imports.includes("wasi_snapshot_preview1.fd_write"));
      assert.equal(await engine.load({ path: probe }), module);
    });

    test("arguments, environment and stdin arrive, and nothing else does", async () => {
      assert.equal(exited(await run(["args", "a b", "ü"])), "probe\nargs\na b\nü\n");
      const environment = new Map([["A", "b=c"]]);
      assert.equal(exited(await run(["env"], { environment })), "A=b=c\n");
      assert.equal(exited(await run(["env"])), "");
      assert.equal(exited(await run(["stdin"], { stdin: "given" })), "given");
    });

    test("exit code, trap with the guest's functions, time limit", async () => {
      exited(await run(["exit", "7"]), 7);
      const trapped = await run(["trap"]);
      assert.ok(trapped.kind === "trapped");
      assert.match(trapped.message, /unreachable/);
      assert.ok(trapped.stack.length > 0);
      const looping = await run(["loop"], { limits: { timeMs: 100 } });
      assert.ok(looping.kind === "stopped");
      assert.equal(looping.failure.code, "limit-time");
      assert.equal(exited(await run(["echo", "on"])), "on");
    });

    test("ceilings of memory, output and files hold", async () => {
      const pages = exited(await run(["grow"], { limits: { memoryBytes: 4 * 1024 * 1024 } }));
      assert.ok(Number(pages) < 64, pages);
      const flood = await run(["flood"], { limits: { outputBytes: 1000 } });
      assert.ok(flood.kind === "stopped");
      assert.equal(flood.failure.code, "limit-output");
      assert.equal(flood.stdout.length, 1000);
      const over = await run(["fill", "/f", "65537"], { limits: { filesBytes: 65536 } });
      exited(over, 1);
      assert.deepEqual(over.limitsReached, ["files"]);
    });

    test("output comes while the guest runs, in its order", async () => {
      const parts: string[] = [];
      const onOutput = (stream: string, bytes: Uint8Array): void =>
        void parts.push(`${stream}:${text(bytes)}`);
      exited(await run(["walk"], { onOutput }), 64);
      assert.ok(parts.length > 0 && parts.every((part) => part.startsWith("stderr:")));
      assert.match(parts.join(""), /unknown command/);
    });

    test("the caller's signal stops a loop and a sleep", async () => {
      const stop = new AbortController();
      const running = [["loop"], ["sleep", "100000"], ["loop"], ["loop"]].map((command) =>
        run(command, { signal: stop.signal }),
      );
      setTimeout(() => stop.abort(), 50);
      for (const result of await Promise.all(running)) {
        assert.ok(result.kind === "stopped", result.kind);
        assert.equal(result.failure.code, "aborted");
      }
      const late = await run(["echo"], { signal: AbortSignal.abort() });
      assert.ok(late.kind === "stopped");
      assert.equal(late.failure.code, "aborted");
    });

    test("inputs are read, large and small, whole and in parts, and given back as they are", async () => {
      const host = join(folder, "large");
      const content = Buffer.alloc(300_000, "0123456789");
      writeFileSync(host, content);
      const part = (path: string, offset: number, size: number) =>
        ({
          kind: "file",
          path,
          mode: 0o640,
          content: { kind: "slice", path: host, offset, size },
        }) as const;
      const mounts: Mount[] = [
        file("/in/small", "letter"),
        {
          path: "/tree",
          readOnly: false,
          content: {
            kind: "directory",
            entries: [
              part("a", 0, 300_000),
              part("b/c", 3, 10),
              { kind: "symlink", path: "link", target: "a" },
              { kind: "directory", path: "empty", mode: 0o700 },
            ],
          },
        },
      ];
      assert.equal(exited(await run(["cat", "/in/small"], { mounts })), "letter");
      assert.equal(exited(await run(["cat", "/tree/b/c"], { mounts })), "3456789012");
      assert.equal(exited(await run(["cat", "/tree/link"], { mounts })).length, 300_000);
      const left = await run(["write", "/tree/b/c", "new"], { mounts, collect: ["/tree", "/no"] });
      const [tree, missing] = left.collected;
      assert.ok(tree?.kind === "directory" && missing?.kind === "missing");
      const at = new Map(tree.entries.map((entry) => [entry.path, entry]));
      // What was not changed is named where it lies, so that nobody copies or hashes it again.
      const { content: unchanged } = { content: undefined, ...at.get("a") };
      assert.deepEqual(unchanged, { kind: "slice", path: host, offset: 0, size: 300_000 });
      const changed = at.get("b/c");
      assert.ok(changed?.kind === "file" && changed.content.kind === "bytes");
      assert.equal(text(changed.content.bytes), "new");
      assert.equal(changed.mode, 0o640);
      assert.deepEqual(at.get("link"), { kind: "symlink", path: "link", target: "a" });
      assert.equal(at.get("empty")?.kind, "directory");
      assert.deepEqual(readFileSync(host), content);
    });

    test("an input that only its owner may read arrives, and stays what it is", async () => {
      const host = join(folder, "private");
      writeFileSync(host, Buffer.alloc(100_000, "s"), { mode: 0o600 });
      const content = { kind: "slice", path: host, offset: 0, size: 100_000 } as const;
      const mounts: Mount[] = [
        { path: "/in/a", readOnly: false, content: { kind: "file", mode: 0o644, content } },
      ];
      assert.equal(exited(await run(["cat", "/in/a"], { mounts })), "s".repeat(100_000));
      exited(await run(["write", "/in/a", "changed"], { mounts }));
      assert.equal(readFileSync(host, "utf8"), "s".repeat(100_000));
      assert.equal(statSync(host).mode & 0o777, 0o600);
      assert.equal(statSync(host).nlink, 1);
    });

    test("a small part of a host file arrives, and a read-only mount refuses writing", async () => {
      const host = join(folder, "small");
      writeFileSync(host, "0123456789");
      const mounts: Mount[] = [
        {
          path: "/in/a",
          readOnly: true,
          content: {
            kind: "file",
            mode: 0o644,
            content: { kind: "slice", path: host, offset: 2, size: 3 },
          },
        },
      ];
      assert.equal(exited(await run(["cat", "/in/a"], { mounts })), "234");
      const locked = await run(["write", "/in/a", "x"], { mounts });
      exited(locked, 1);
      assert.match(text(locked.stderr), /Read-only/);
    });

    test("a large file is handed out as a file of the host, which belongs to the receiver", async () => {
      const result = await run(["fill", "/big", "5000000"], { collect: ["/big"] });
      exited(result);
      const [big] = result.collected;
      assert.ok(big?.kind === "file" && big.content.kind === "slice");
      assert.equal(readFileSync(big.content.path).length, 5_000_000);
      const { uid, mode, nlink } = statSync(big.content.path);
      assert.deepEqual([uid, mode & 0o077, nlink], [process.getuid?.(), 0, 1]);
      rmSync(big.content.path);
    });

    test("bytes that are no module are refused with their code", async () => {
      const bytes = Buffer.from("(module)");
      await assert.rejects(engine.load({ bytes, name: "it" }), { code: "module-invalid" });
      await assert.rejects(engine.load({ path: "/nowhere/x.wasm" }), { code: "module-not-found" });
    });

    test("200 guests sleep at once, and one runs away beside them without taking any along", async () => {
      const asleep = Array.from({ length: 200 }, () => run(["sleep", "600"]));
      const looping = run(["loop"], { limits: { timeMs: 200 } });
      assert.equal((await looping).kind, "stopped");
      for (const result of await Promise.all(asleep)) exited(result);
    });

    test("a failure of the host while it lays an input ready is a result", async () => {
      const gone: Mount = {
        path: "/in/a",
        readOnly: true,
        content: {
          kind: "file",
          mode: 0o644,
          content: { kind: "slice", path: join(folder, "gone"), offset: 0, size: 100_000 },
        },
      };
      const result = await run(["cat", "/in/a"], { mounts: [gone] });
      assert.ok(result.kind !== "trapped");
      assert.notEqual(result.kind === "exited" ? result.exitCode : 1, 0);
      assert.equal(exited(await run(["echo", "on"])), "on");
    });

    describe("HTTP", () => {
      const client = resolve(guests, "http/http.wasm");
      async function* pieces(...texts: readonly string[]): AsyncGenerator<Uint8Array, undefined> {
        for (const piece of texts) yield Buffer.from(piece);
      }

      test("requests are denied where nobody answers them", async () => {
        const result = await run(["GET", "http://example.com/"], {}, client);
        assert.match(text(result.stdout), /^send: errno 2: no host is allowed/);
      });

      test("a request arrives as it was made, and the answer in pieces of any size", async () => {
        const seen: unknown[] = [];
        const http: HttpHandler = async ({ body, method, url, redirects, timeoutMs }) => {
          seen.push([method, url, text(body), redirects, timeoutMs]);
          return { status: 207, headers: [["a", "b\xe9"]], body: pieces("hello, ", "", "world") };
        };
        const command = ["POST", "https://a.example/ä?q", "-d", "body", "-r", "3"];
        const result = await run([...command, "-t", "9", "-b", "2", "-i", "1"], { http }, client);
        assert.deepEqual(seen, [["POST", "https://a.example/ä?q", "body", 3, 9]]);
        const printed = Buffer.from(result.stdout).toString("latin1");
        assert.equal(printed, "207\na: b\xe9\n\nhello, world");
      });

      test("a failure keeps its code: the guest is told one, and a ceiling stops it", async () => {
        const failing = (failure: Failure): Promise<Result> =>
          run(
            ["GET", "http://x/"],
            {
              http: async () => {
                throw failure;
              },
            },
            client,
          );
        const denied = await failing(new Failure("network-denied", "No", { hint: "Add it." }));
        assert.equal(text(denied.stdout), "send: errno 2: network-denied: No. Add it.\n");
        const ended = await failing(new Failure("limit-http-bytes", "Too much"));
        assert.ok(ended.kind === "stopped");
        assert.equal(ended.failure.code, "limit-http-bytes");
      });

      test("an answer that comes when its guest has been stopped harms no other guest", async () => {
        const stop = new AbortController();
        const asked = Promise.withResolvers<undefined>();
        const late = Promise.withResolvers<undefined>();
        let closed = 0;
        const http: HttpHandler = async () => {
          asked.resolve(undefined);
          // As one that had the answer at the moment of the stop: it asks no signal.
          await late.promise;
          const end = async () => ({ done: true, value: undefined }) as const;
          const body = {
            next: end,
            return: () => {
              closed++;
              return end();
            },
          };
          return { status: 200, headers: [], body };
        };
        const other = run(["sleep", "600"]);
        const running = run(["GET", "http://x/"], { http, signal: stop.signal }, client);
        await asked.promise;
        stop.abort();
        assert.equal((await running).kind, "stopped");
        late.resolve(undefined);
        exited(await other);
        assert.equal(closed, 1);
      });

      test("whoever answers is told when the guest is stopped", async () => {
        const stop = new AbortController();
        const { promise, resolve: told } = Promise.withResolvers<string>();
        const http: HttpHandler = (_request, { signal }) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener("abort", () => {
              told("told");
              reject(new Failure("aborted", "stopped"));
            });
            stop.abort();
          });
        const result = await run(["GET", "http://x/"], { http, signal: stop.signal }, client);
        assert.equal(result.kind, "stopped");
        assert.equal(await promise, "told");
      });
    });
  });
}
