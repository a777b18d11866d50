// `npm run test:runtimes`: the client in Node, Deno, Bun, and in a context that has nothing but what a browser has. Deno and Bun come from npm, once, into the cache of the tests.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { createContext, runInContext } from "node:vm";
import { build } from "esbuild";
import { deploy, startApi } from "../functions/api.ts";

const versions = { deno: "2.9.6", bun: "1.4.5" };
const { ATALANTA_TEST_CACHE, XDG_CACHE_HOME } = process.env;
const cache = join(
  ATALANTA_TEST_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), ".cache"), "atalanta-tests"),
  `runtimes-${versions.deno}-${versions.bun}`,
);
const folder = mkdtempSync(join(tmpdir(), "runtimes-"));

async function run(
  command: string,
  args: readonly string[],
  {
    cwd = folder,
    env = { PATH: process.env["PATH"], HOME: folder, NO_COLOR: "1" },
  }: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<{ readonly code: number | null; readonly out: string; readonly said: string }> {
  const child = spawn(command, args, {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
    env,
    timeout: 300_000,
  });
  let out = "";
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const ended = await Promise.race([once(child, "close"), once(child, "error")]);
  return { code: typeof ended[0] === "number" ? ended[0] : null, out, said };
}

if (!existsSync(join(cache, "node_modules/deno"))) {
  mkdirSync(cache, { recursive: true });
  writeFileSync(join(cache, "package.json"), '{"private": true}');
  const { code, said } = await run(
    "npm",
    [
      "install",
      "--no-audit",
      "--no-fund",
      "--save-exact",
      `deno@${versions.deno}`,
      `bun@${versions.bun}`,
    ],
    { cwd: cache, env: process.env },
  );
  if (code !== 0)
    process.stdout.write(
      `!!! Deno and Bun could not be installed: ${said.trim().split("\n").at(-1)}\n`,
    );
}

/** One file without an import, as it would be in a page. */
const client = join(folder, "client.js");
const built = await build({
  entryPoints: [resolve(import.meta.dirname, "../../src/client/mod.ts")],
  bundle: true,
  platform: "browser",
  format: "esm",
  outfile: client,
  metafile: true,
  logLevel: "error",
});
const program = join(folder, "program.js");
writeFileSync(program, readFileSync(join(import.meta.dirname, "program.js")));
const main = join(folder, "main.js");
writeFileSync(
  main,
  `import * as client from "./client.js";\nimport { program } from "./program.js";\nconsole.log(await program(client, globalThis.Deno?.args[0] ?? process.argv[2]));\n`,
);
writeFileSync(join(folder, "package.json"), '{"type": "module"}');

await using api = await startApi();
await deploy(api);
const expected = [
  "Hello, Ada!",
  3,
  { a: ["ü", null] },
  "HEllo",
  "BLOB",
  [1, 2, 3],
  1,
  ["Hello, a!", "Hello, b!", "Hello, c!"],
  [true, "Refused", "function-threw", 422, { why: "asked to" }, false],
  [true, "Trap", "function-threw", 422, null, true],
  [true, "RemoteError", "function-unknown", 404, null, false],
  [true, "RemoteError", "deadline", 504, null, false],
  "AbortError",
  true,
];

await test("the client imports nothing", () => {
  for (const { imports } of Object.values(built.metafile.inputs))
    for (const { path, external } of imports) assert.ok(!external, path);
  assert.doesNotMatch(readFileSync(client, "utf8"), /\bnode:|\brequire\(|\bprocess\b|\bBuffer\b/);
});

await test("in Node", async () => {
  const { out, said } = await run(process.execPath, [main, api.url]);
  assert.deepEqual(JSON.parse(out || JSON.stringify(said)), expected);
});

for (const [name, args] of [
  ["deno", ["run", "--no-prompt", `--allow-net=${new URL(api.url).host}`]],
  ["bun", ["run"]],
] as const) {
  const command = join(cache, "node_modules/.bin", name);
  await test(
    `in ${name}`,
    { skip: !existsSync(command) && `${name} could not be installed` },
    async () => {
      const { out, said } = await run(command, [...args, main, api.url]);
      assert.deepEqual(JSON.parse(out || JSON.stringify(said)), expected);
    },
  );
}

await test("with nothing but what a browser has", async () => {
  const {
    fetch,
    TextEncoder,
    TextDecoder,
    TextDecoderStream,
    Blob,
    ReadableStream,
    AbortController,
    AbortSignal,
    Headers,
    Request,
    Response,
    URL,
    setTimeout,
    clearTimeout,
    queueMicrotask,
    ArrayBuffer,
    Uint8Array,
    DOMException,
  } = globalThis;
  const context = createContext({
    fetch,
    TextEncoder,
    TextDecoder,
    TextDecoderStream,
    Blob,
    ReadableStream,
    AbortController,
    AbortSignal,
    Headers,
    Request,
    Response,
    URL,
    setTimeout,
    clearTimeout,
    queueMicrotask,
    ArrayBuffer,
    Uint8Array,
    DOMException,
  });
  const script = `${readFileSync(client, "utf8").replace(/export \{([^}]*)\};/, (_all, names: string) => `const client = {${names}};`)}
${readFileSync(program, "utf8").replace("export async function", "async function")}
program(client, ${JSON.stringify(api.url)})`;
  const out = (await runInContext(script, context)) as string;
  assert.deepEqual(JSON.parse(out), expected);
});

rmSync(folder, { recursive: true, force: true });
