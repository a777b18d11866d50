import assert from "node:assert/strict";
import { resolve } from "node:path";
import { after, describe, test } from "node:test";
import { createEngine, type Result } from "../src/engine/mod.ts";
import { defaultLimits } from "../src/limits/mod.ts";

const engine = createEngine();
after(() => engine[Symbol.asyncDispose]());

/** The same program in three languages: what it prints must not differ. */
const languages = ["go", "rust", "zig"] as const;
type Language = (typeof languages)[number];

async function run(
  language: Language,
  command: readonly string[],
  options: { readonly environment?: ReadonlyMap<string, string>; readonly stdin?: string } = {},
): Promise<Result> {
  const module = await engine.load({
    path: resolve(import.meta.dirname, "guests", language, "tried.wasm"),
  });
  return engine.run(module, {
    arguments: ["tried", ...command],
    environment: options.environment ?? new Map(),
    stdin: Buffer.from(options.stdin ?? ""),
    mounts: [
      { path: "/d", readOnly: false, content: { kind: "directory", entries: [] } },
      {
        path: "/locked",
        readOnly: true,
        content: {
          kind: "file",
          mode: 0o644,
          content: { kind: "bytes", bytes: Buffer.from("a letter") },
        },
      },
    ],
    collect: ["/d"],
    limits: { ...defaultLimits, timeMs: 20_000 },
  });
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

function printed(result: Result): string {
  assert.ok(
    result.kind === "exited" && result.exitCode === 0,
    `${result.kind}: ${text(result.stderr)}`,
  );
  return text(result.stdout);
}

const files = `read hello, world
end there!
size 5
renamed missing hello
exclusive exists
open missing
big 3145728
left 0
`;

const directories = `again exists
folder one
file one/a
file one/b
folder one/two
file one/two/c
folder one/two/three
file one/two/three/ü d
full true
moved c missing
many 502
left 0
`;

for (const language of languages) {
  describe(`what ${language} makes of a sandbox`, () => {
    test("arguments arrive as they were given, empty ones too", async () => {
      const given = ["a", "b c", "", "ü€", "--flag=1"];
      assert.equal(
        printed(await run(language, ["arguments", ...given])),
        given.map((argument) => `${argument}\n`).join(""),
      );
    });

    test("the environment is what was given, and nothing of this process", async () => {
      const environment = new Map([
        ["B", "two words"],
        ["A", "x=y"],
      ]);
      assert.equal(
        printed(await run(language, ["environment"], { environment })),
        "A=x=y\nB=two words\n",
      );
      assert.equal(printed(await run(language, ["environment"])).trim(), "");
    });

    test("stdin is read to its end", async () => {
      const lines = Array.from({ length: 2000 }, (_, index) => `line ${index}`);
      const stdin = `${lines.join("\n")}\n`;
      const expected = lines.map((line, index) => `${index + 1} ${line.toUpperCase()}\n`).join("");
      assert.equal(printed(await run(language, ["stdin"], { stdin })), expected);
    });

    test("files are written, appended to, changed in the middle, cut, renamed and removed", async () => {
      assert.equal(printed(await run(language, ["files", "/d"])), files);
    });

    test("directories are made, walked, listed, moved and removed with all that is in them", async () => {
      const result = await run(language, ["directories", "/d"]);
      assert.equal(printed(result), directories);
      const [left] = result.collected;
      assert.ok(left?.kind === "directory");
      assert.deepEqual(left.entries, []);
    });

    test("a file that may only be read is read, and refuses the rest", async () => {
      assert.equal(
        printed(await run(language, ["locked", "/locked"])),
        "read a letter\nrefused true\nrefused true\n",
      );
    });

    test("an exit code is its own", async () => {
      for (const code of [1, 7, 125]) {
        const result = await run(language, ["exit", String(code)]);
        assert.ok(result.kind === "exited");
        assert.equal(result.exitCode, code);
      }
    });

    test("the clocks agree with a sleep", async () => {
      assert.equal(printed(await run(language, ["clocks"])), "true true true\n");
    });

    test("randomness differs from run to run", async () => {
      const values = await Promise.all([1, 2, 3, 4].map(() => run(language, ["random"])));
      const texts = values.map(printed);
      for (const value of texts) assert.match(value, /^[0-9a-f]{32}\n$/);
      assert.equal(new Set(texts).size, 4);
    });

    test("a panic ends it, with its message and the names of its functions", async () => {
      const result = await run(language, ["panic"]);
      assert.match(text(result.stderr), /no paper left/);
      if (language === "go") {
        // Go ends itself, after it wrote where it was.
        assert.ok(result.kind === "exited");
        assert.equal(result.exitCode, 2);
        assert.match(text(result.stderr), /main\.outer/);
      } else {
        assert.ok(result.kind === "trapped");
        assert.match(result.message, /unreachable/);
        assert.ok(
          result.stack.some((name) => /tried(::|\.)outer/.test(name)),
          result.stack.join(),
        );
      }
    });

    test("endless recursion ends at the ceiling of the stack, and the engine goes on", async () => {
      const result = await run(language, ["recursion"]);
      assert.ok(result.kind === "stopped", result.kind);
      assert.equal(result.failure.code, "limit-stack");
      assert.equal(printed(await run(language, ["arguments", "on"])), "on\n");
    });
  });
}
