import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import type { Invocation, Result } from "../../src/engine/mod.ts";
import { defaultLimits } from "../../src/limits/mod.ts";
import { createRunners } from "../../src/runner/mod.ts";

const program = resolve(import.meta.dirname, "liar.ts");
const bytes = Buffer.from("0061736d01000000", "hex");

const invocation = (command: readonly string[], collect: readonly string[] = []): Invocation => ({
  arguments: command,
  environment: new Map(),
  mounts: [],
  collect,
  limits: { ...defaultLimits, timeMs: 2000 },
});

const linux = process.platform === "linux";

function laid(out: string, lay: () => void): void {
  mkdirSync(`${out}/l`);
  lay();
}

describe("a runner process that was taken over", () => {
  const runners = createRunners({ threads: 1, spares: 1, processBytes: 256 * 1024 ** 2, program });
  after(() => runners[Symbol.asyncDispose]());
  const engine = runners.engine({ trust: "process", owner: "a" });

  const mine = (): { readonly pid: number } | undefined =>
    runners.processes().find(({ owner }) => owner === "a");

  async function run(
    act: string,
    collect: readonly string[] = [],
    signal?: AbortSignal,
  ): Promise<Result> {
    const module = await engine.load({ bytes, name: "it" });
    return engine.run(module, invocation([act], collect), signal ? { signal } : {});
  }

  async function said(act: string, ...more: readonly string[]): Promise<unknown> {
    const module = await engine.load({ bytes, name: "it" });
    const result = await engine.run(module, invocation([act, ...more]));
    assert.equal(result.kind, "exited", JSON.stringify(result));
    return JSON.parse(Buffer.from(result.stdout).toString());
  }

  test("speaks as ours does while it wants to", async () => {
    assert.equal(await said("honest"), "fine");
  });

  test("may print a little before each short sleep for as long as it likes", async () => {
    assert.equal(await said("steady"), "fine");
  });

  const lies = [
    "garbage",
    "no-json",
    "list",
    "nothing",
    "unknown-type",
    "unknown-guest",
    "negative-guest",
    "huge-header",
    "huge-body",
    "flood",
    "empty-output",
    "drip",
    "chatter",
    "stdout-outside",
    "stdout-negative",
    "too-much-stdout",
    "usage-text",
    "usage-infinite",
    "unknown-end",
    "unknown-code",
    "request-not-allowed",
    "die",
    "eat",
  ];
  for (const act of lies) {
    test(`${act}: it is ended, its guests are lost, and another takes its place`, async () => {
      const before = mine();
      const [result, other] = await Promise.all([run(act), run("silent")]);
      for (const lost of [result, other]) {
        assert.ok(lost.kind === "failed", JSON.stringify(lost));
        assert.equal(lost.failure.code, "runner-lost");
        assert.ok(lost.failure.retryable);
      }
      assert.equal(await said("honest"), "fine");
      const now = mine();
      assert.notEqual(now?.pid, before?.pid);
    });
  }

  const wrongFiles = [
    "too-few-paths",
    "path-up",
    "path-absolute",
    "path-zero",
    "file-elsewhere",
    "file-up",
    "file-not-given",
    "file-larger",
    "file-folder",
    "file-over-limit",
    "file-twice",
    "file-missing",
    "file-beside-missing",
  ];
  test(
    "of what was taken over before the first wrong file nothing stays",
    { skip: !linux },
    async () => {
      await said("honest");
      const folder = readlinkSync(`/proc/${mine()?.pid}/cwd`);
      const result = await run("file-beside-missing", ["/out"]);
      assert.equal(result.kind, "failed");
      assert.deepEqual(readdirSync(`${folder}-taken`), []);
    },
  );

  for (const act of wrongFiles) {
    test(`${act}: nothing is taken over that is not a file of its own`, async () => {
      const result = await run(act, ["/out"]);
      assert.ok(result.kind === "failed", JSON.stringify(result));
      assert.equal(result.failure.code, "runner-lost");
      assert.deepEqual(result.collected, []);
    });
  }

  test("file-again: a file is taken over once, and who hands it over again is ended", async () => {
    const before = mine();
    const result = await run("file-again", ["/out"]);
    // What it said again may come after the first time has counted.
    if (result.kind === "failed") {
      assert.equal(result.failure.code, "runner-lost");
      assert.deepEqual(result.collected, []);
    } else assert.equal(result.collected.length, 1);
    assert.equal(await said("honest"), "fine");
    assert.notEqual(mine()?.pid, before?.pid);
  });

  // Node's permissions stop it from making links. Whoever has broken out of V8 is not asked, so they are made for it here.
  const links: readonly (readonly [string, (folder: string, target: string) => void])[] = [
    ["a link to a file", (out, target) => laid(out, () => symlinkSync(target, `${out}/l/f`))],
    ["a second name of a file", (out, target) => laid(out, () => linkSync(target, `${out}/l/f`))],
    ["a link to a folder", (out, target) => symlinkSync(dirname(target), `${out}/l`)],
    ["a pipe", (out) => laid(out, () => execFileSync("mkfifo", [`${out}/l/f`]))],
  ];
  for (const [what, lay] of links) {
    test(`${what} in its place is not followed`, { skip: !linux }, async () => {
      const secrets = mkdtempSync(join(tmpdir(), "atalanta-test-"));
      try {
        const target = join(secrets, "f");
        writeFileSync(target, "a secret");
        await said("honest");
        const its = mine();
        lay(`/proc/${its?.pid}/cwd/out`, target);
        const module = await engine.load({ bytes, name: "it" });
        const result = await engine.run(module, invocation(["file-laid", "8"], ["/out"]));
        assert.ok(result.kind === "failed", JSON.stringify(result));
        assert.equal(result.failure.code, "runner-lost");
        assert.equal(readFileSync(target, "utf8"), "a secret");
      } finally {
        rmSync(secrets, { recursive: true });
      }
    });
  }

  test("one that neither stops nor ends a guest is ended", async () => {
    const stop = new AbortController();
    const running = run("hang", [], stop.signal);
    setTimeout(() => stop.abort(), 50);
    const result = await running;
    assert.ok(result.kind === "failed" || result.kind === "stopped");
    assert.equal(await said("honest"), "fine");
  });

  test("one that talks on stderr without end talks to itself", async () => {
    const stop = new AbortController();
    const running = run("words-without-end", [], stop.signal);
    setTimeout(() => stop.abort(), 300);
    await running;
    assert.equal(await said("honest"), "fine");
  });

  test("finds nothing to take: no variables, no files, no processes, no code from text", async () => {
    const found = (await said("look")) as Record<string, unknown>;
    const denied = "ERR_ACCESS_DENIED";
    assert.deepEqual(found, {
      environment: [],
      user: found["user"],
      permission: true,
      passwd: denied,
      up: denied,
      ups: denied,
      home: denied,
      memory: denied,
      write: denied,
      writeGiven: denied,
      writeOwn: "did it: 1",
      rename: denied,
      removeGiven: denied,
      spawn: denied,
      listen: denied,
      addon: "ERR_DLOPEN_DISABLED",
      code: "EvalError: Code generation from strings disallowed for this context",
    });
  });

  test("finds no more on a thread that it starts", async () => {
    assert.deepEqual(await said("look-from-thread"), {
      permission: true,
      passwd: "ERR_ACCESS_DENIED",
      spawn: "ERR_ACCESS_DENIED",
    });
  });

  test("gets no connection to anything on this machine", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((done) => server.once("listening", done));
    const address = server.address();
    assert.ok(address !== null && typeof address === "object");
    let came = 0;
    server.on("connection", () => came++);
    assert.equal(await said("connect", `${address.port}`), "ERR_ACCESS_DENIED");
    assert.equal(came, 0);
    server.close();
  });
});
