// Each example runs on a server and in this process, and both give the same: values, errors and limits.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect, RemoteError, type Connection } from "../../src/client/mod.ts";
import { openLocal, type Local } from "../../src/local/mod.ts";
import { deploy, guest, startApi, type TestApi } from "./api.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "both-"));

/** The same three functions in the languages for which there are helpers. Go's program is too large to be kept here. */
function goModule(): string | undefined {
  const out = join(folder, "words-go.wasm");
  try {
    execFileSync("go", ["build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./example"], {
      cwd: join(root, "guests/go"),
      env: {
        ...process.env,
        GOOS: "wasip1",
        GOARCH: "wasm",
        CGO_ENABLED: "0",
        GOTOOLCHAIN: "local",
      },
      stdio: "pipe",
      timeout: 300_000,
    });
    return out;
  } catch {
    return undefined;
  }
}
const go = goModule();
const languages = new Map<string, string | undefined>([
  ["C", join(root, "examples/functions/words.wasm")],
  ["Rust", join(root, "guests/rust/words.wasm")],
  ["AssemblyScript", join(root, "guests/assemblyscript/words.wasm")],
  ["Go", go],
]);

let api: TestApi;
let local: Local;
before(async () => {
  const overrides = new Map([["f", guest]]);
  for (const [language, path] of languages)
    if (path !== undefined) overrides.set(language.toLowerCase(), path);
  api = await startApi({ overrides });
  local = await openLocal();
  await deploy(api);
  for (const image of overrides.keys()) if (image !== "f") await deploy(api, image, { image });
});
after(async () => {
  await local.close();
  await api[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

interface Guest {
  greet(name: string): Promise<string>;
  add(left: number, right: number): Promise<number>;
  same(value: unknown): Promise<unknown>;
  upper(text: Uint8Array, options?: { first: number }): Promise<Uint8Array>;
  pipe(input: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;
  count(to: number, pauseMs?: number): AsyncIterable<{ n: number }>;
  fail(message: string): Promise<void>;
  trap(): Promise<void>;
  spin(): Promise<void>;
  grow(): Promise<void>;
  nonsense(): Promise<unknown>;
  nothing(): Promise<void>;
  nope(): Promise<void>;
  sleep(ms: number): Promise<number>;
}

type Module = ReturnType<typeof typed>;
const typed = (connection: Connection, name: string) => connection.module<Guest>(name);

/** What came of it, in a form that can be compared. */
async function outcome(work: () => unknown): Promise<unknown> {
  try {
    const value: unknown = await work();
    return value instanceof Uint8Array ? Buffer.from(value).toString() : value;
  } catch (thrown) {
    if (!(thrown instanceof RemoteError)) return thrown instanceof Error ? thrown.name : thrown;
    const { name, code, status, message, retryable, data, guestStack } = thrown;
    // A module is called by its path here and by its name there.
    return {
      name,
      code,
      status,
      message: message.replace(/^".*?" has/, "It has"),
      retryable,
      data,
      guestStack,
    };
  }
}
async function all(pieces: AsyncIterable<unknown>): Promise<unknown[]> {
  const list: unknown[] = [];
  for await (const piece of pieces) list.push(piece);
  return list;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
async function* blocks(count: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < count; at++) yield new Uint8Array(50_000).fill(at);
}

const cases: Readonly<Record<string, (module: Module) => unknown>> = {
  "a text": (module) => module.greet("Ada"),
  "a text of every kind of sign": (module) => module.same("ü \u2028 \u{1f600} \\ \n"),
  numbers: (module) => module.add(0.1, 0.2),
  "a value inside of values": (module) => module.same({ a: [1, null, { b: true }] }),
  nothing: (module) => module.nothing(),
  bytes: (module) => module.upper(bytes("hello"), { first: 2 }),
  "bytes without an option": (module) => module.upper(bytes("hello")),
  "no bytes at all": (module) => module.upper(new Uint8Array(0)),
  "pieces of values": (module) => all(module.count(3)),
  "pieces as a whole": async (module) => await module.count(2),
  "no pieces": (module) => all(module.count(0)),
  "bytes both ways": async (module) => {
    let size = 0;
    for await (const piece of module.pipe(blocks(100))) size += piece.length;
    return size;
  },
  "an early end of pieces": async (module) => {
    for await (const { n } of module.count(1000, 20)) if (n === 3) return n;
    return 0;
  },
  "many at once": (module) => module.greet.map(["a", "b", "c", "d"], { concurrency: 2 }),
  "a failure among many": (module) => module.fail.map(["x"]),
  "what it throws": (module) => module.fail("no"),
  "a trap": (module) => module.trap(),
  "too few arguments": (module) => module.add(...([1] as unknown as [number, number])),
  "a function that is not there": (module) => module.nope(),
  "a result that is no JSON": (module) => module.nonsense(),
  "the caller's time": (module) => module.spin({ timeoutMs: 200 }),
  "its memory": (module) => module.grow(),
  "a signal": (module) => module.sleep(60_000, { signal: AbortSignal.timeout(100) }),
  "a signal that was given before": (module) =>
    module.sleep(60_000, { signal: AbortSignal.abort() }),
  "a key": async (module) => {
    const key = { idempotencyKey: "both" };
    return [
      await module.same(1, key),
      await module.same(1, key),
      await outcome(() => module.same(2, key)),
    ];
  },
};

describe("a call on a server and in this process gives the same for", () => {
  for (const [what, work] of Object.entries(cases)) {
    test(what, async () => {
      const there = await outcome(() => work(typed(connect(api.url), "f")));
      const here = await outcome(() =>
        work(typed(connect("local:", { fetch: local.fetch }), guest)),
      );
      assert.deepEqual(here, there);
    });
  }
});

describe("guest helpers", () => {
  for (const [language, path] of languages) {
    test(
      `of ${language}: values, bytes, pieces, errors and types`,
      { skip: path === undefined && "go cannot be run here" },
      async () => {
        interface Words {
          greet(who: string): Promise<string>;
          shout(text: Uint8Array): Promise<Uint8Array>;
          words(text: AsyncIterable<Uint8Array>): AsyncIterable<{ word: string; length: number }>;
        }
        const module = connect(api.url).module<Words>(language.toLowerCase());
        assert.equal(await module.greet("Ada"), "Hello, Ada!");
        assert.equal(Buffer.from(await module.shout(bytes("loud"))).toString(), "LOUD");
        const pieces = module.words(
          (async function* () {
            yield bytes("one two ");
            yield bytes("three");
          })(),
        );
        assert.deepEqual(await all(pieces), [
          { word: "one", length: 3 },
          { word: "two", length: 3 },
          { word: "three", length: 5 },
        ]);
        await assert.rejects(
          async () => module.greet(language === "Go" ? "" : (3 as unknown as string)),
          (thrown) =>
            thrown instanceof RemoteError &&
            thrown.name === "TypeError" &&
            thrown.code === "function-threw",
        );
        const types = await (
          await fetch(api.at(`/functions/${language.toLowerCase()}/types`))
        ).text();
        assert.match(types, /export declare function greet\(who: string\): Promise<string>;/);
        assert.match(types, /AsyncIterable<\{ readonly \w+: \w+; readonly \w+: \w+ \}>/);
      },
    );
  }
});

describe("declarations of `atalanta types`", () => {
  test("are what the client takes, for the compiler", async () => {
    const types = await (await fetch(api.at("/functions/f/types"))).text();
    writeFileSync(join(folder, "f.d.ts"), types);
    const client = join(root, "src/client/mod.ts");
    const program = (body: string): string => `import { connect } from ${JSON.stringify(client)};
const f = connect("http://localhost").module<typeof import("./f.d.ts")>("f");
export async function run(): Promise<void> {
${body}
}
`;
    const check = (body: string): string => {
      writeFileSync(join(folder, "use.ts"), program(body));
      try {
        execFileSync(
          process.execPath,
          [
            join(root, "node_modules/typescript/bin/tsc"),
            "--ignoreConfig",
            "--noEmit",
            "--strict",
            "--skipLibCheck",
            "--target",
            "esnext",
            "--module",
            "nodenext",
            "--allowImportingTsExtensions",
            "--types",
            "node",
            "--typeRoots",
            join(root, "node_modules/@types"),
            join(folder, "use.ts"),
          ],
          { stdio: "pipe", cwd: root },
        );
        return "";
      } catch (thrown) {
        return String((thrown as { stdout: Buffer }).stdout);
      }
    };
    assert.ok(existsSync(join(root, "node_modules/typescript/bin/tsc")));
    assert.equal(
      check(`const text: string = await f.greet("x", { signal: AbortSignal.timeout(1), idempotencyKey: "k" });
const sum: number = await f.add(1, 2);
const big: Uint8Array = await f.upper(new Uint8Array(1), { first: 2 });
for await (const { n } of f.count(3)) { const one: number = n; void one; }
const many: string[] = await f.greet.map(["a"], { concurrency: 2 });
void [text, sum, big, many];`),
      "",
    );
    assert.match(check(`await f.greet(3);`), /TS2345/);
    assert.match(check(`await f.add(1);`), /TS25/);
    assert.match(check(`const wrong: number = await f.greet("x"); void wrong;`), /TS2322/);
    assert.match(check(`await f.nope();`), /TS2339/);
  });
});

describe("the ten lines of the README", () => {
  test("do what they say", async () => {
    const readme = readFileSync(join(root, "README.md"), "utf8");
    const code = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? assert.fail("there are none");
    assert.ok(code.trim().split("\n").length <= 10);
    const lines: unknown[] = [];
    // They are run as they stand, but for where the client and the server are.
    const body = code
      .replace(
        /import \{ (.*?) \} from "atalanta\/client";/,
        `const { $1 } = await import(${JSON.stringify(join(root, "src/client/mod.ts"))});`,
      )
      .replaceAll("http://localhost:4780", api.url)
      .replaceAll("console.log(", "print(")
      .replace(/<typeof import\("\.\/words\.d\.ts"\)>/, "");
    const print = (value: unknown): void => void lines.push(value);
    const path = join(folder, "readme.mjs");
    writeFileSync(
      path,
      `export default async (print, readFile) => {\n${body.replace(/^import .*node:fs.*$/m, "")}\n};\n`,
    );
    await deploy(api, "words", { image: "c" });
    const ran = (await import(path)) as {
      default: (print: (value: unknown) => void, readFile: unknown) => Promise<void>;
    };
    await ran.default(print, undefined);
    assert.deepEqual(lines, [
      "Hello, Ada!",
      { word: "one", length: 3 },
      { word: "two", length: 3 },
      ["Hello, a!", "Hello, b!"],
      "function-unknown",
    ]);
  });
});
