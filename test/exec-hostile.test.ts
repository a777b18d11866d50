import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";

// `exec` gives a folder of the user's away and takes it back: what a guest, or a kill at a bad moment, could make of that.
const root = resolve(import.meta.dirname, "..");
const home = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(() => rmSync(home, { recursive: true, force: true }));
const probe = join(root, "test/guests/probe/probe.wasm");
const calls = join(root, "test/guests/call/call.wasm");
const main = join(root, "src/cli/main.ts");
const environment = { PATH: process.env["PATH"], HOME: home, TMPDIR: home };

function exec(args: readonly string[], input = "") {
  const options = { encoding: "utf8", env: environment, input } as const;
  return spawnSync(process.execPath, [main, "exec", ...args], options);
}

const hex = (text: string): string => Buffer.from(text).toString("hex");
const size = (text: string): number => Buffer.byteLength(text);
const link = (target: string, path: string): string =>
  `set 0 ${hex(target)}\nset 5000 ${hex(path)}\ncall path_symlink @0 ${size(target)} 3 @5000 ${size(path)}\n`;
const folder = (path: string): string =>
  `set 0 ${hex(path)}\ncall path_create_directory 3 @0 ${size(path)}\n`;

describe("links that a guest makes in a writable folder", () => {
  const shared = (): string => mkdtempSync(join(home, "shared-"));
  const run = (host: string, steps: string) =>
    exec(["--dir", `${host}:/s`, "--stdin", "-", calls], steps);

  test("do not lead out by way of another link's parent", () => {
    const host = shared();
    const deep = folder("a") + folder("a/b") + link("../..", "a/b/top");
    // As text it stays in the folder; the system goes up from where `top` leads.
    const { stderr } = run(host, deep + link("a/b/top/../secret", "evil") + link("a/b", "fine"));
    assert.match(stderr, /not made: "evil" leads out/);
    assert.equal(existsSync(join(host, "evil")), false);
    assert.equal(readlinkSync(join(host, "a/b/top")), "../..");
    assert.equal(readlinkSync(join(host, "fine")), "a/b");
  });

  test("do not wait for a later run to put a link under a name that they pass", () => {
    const host = shared();
    const { stderr } = run(host, link("later/../secret", "evil"));
    assert.match(stderr, /not made: "evil"/);
  });

  test("do not lead out by way of a link of the user's", () => {
    const host = shared();
    symlinkSync("/etc", join(host, "users"));
    const { stderr } = run(host, link("users/passwd", "evil"));
    assert.match(stderr, /not made: "evil"/);
    assert.equal(readlinkSync(join(host, "users")), "/etc");
  });

  test("may be the user's own under another name, however they are written", () => {
    const host = shared();
    symlinkSync("x/../y", join(host, "users"));
    const done = exec(["--dir", `${host}:/s`, probe, "--", "rename", "/s/users", "/s/moved"]);
    assert.equal(done.status, 0, done.stderr);
    assert.equal(readlinkSync(join(host, "moved")), "x/../y");
  });

  test("that go round in circles are not followed for ever", () => {
    const host = shared();
    const done = run(host, link("b/x", "a") + link("a/x", "b") + link("c", "c"));
    assert.equal(done.status, 0, done.stderr);
    assert.deepEqual(readdirSync(host), ["c"]);
  });
});

describe("what a killed process leaves", () => {
  const old = (path: string): void => {
    mkdirSync(path);
    writeFileSync(join(path, "spill-1"), "x");
    utimesSync(path, 1, 1);
  };
  // A process that has ended, so that its number is nobody's for now.
  const dead = String(spawnSync(process.execPath, ["--version"]).pid);

  test("is neither shown to a guest nor kept in a folder for more than a day", () => {
    const host = mkdtempSync(join(home, "shared-"));
    const at = (name: string): string => join(host, name);
    const names = [`.atalanta-${dead}-abcdef`, `.atalanta-${process.pid}-abcdef`];
    for (const name of names) old(at(name));
    mkdirSync(at(`.atalanta-${dead}-fresh1`));
    writeFileSync(at(".atalanta-mine"), "x");
    const list = exec(["--dir", `${host}:/s`, probe, "--", "ls", "/s"]);
    assert.match(list.stdout, /\.atalanta-mine/);
    assert.doesNotMatch(list.stdout, /abcdef|fresh1/);
    assert.equal(exec(["--dir", `${host}:/s`, probe, "--", "write", "/s/a", "new"]).status, 0);
    assert.deepEqual(
      new Set(readdirSync(host)),
      new Set([`.atalanta-${process.pid}-abcdef`, `.atalanta-${dead}-fresh1`, ".atalanta-mine", "a"]),
    );
  }); // prettier-ignore

  test("goes from the temporary folder with the next command", () => {
    const other = join(home, `atalanta-${dead}-123456`);
    old(other);
    symlinkSync("/", join(home, `atalanta-${dead}-abcdef`));
    assert.equal(exec([probe, "--", "env"]).status, 0);
    assert.equal(existsSync(other), false);
    assert.ok(lstatSync(join(home, `atalanta-${dead}-abcdef`)).isSymbolicLink());
  });
});

test("a host's file that became shorter is an error of reading, and not one with zeros in it", async () => {
  const host = mkdtempSync(join(home, "shared-"));
  const file = join(host, "f");
  writeFileSync(file, "0123456789");
  // Opens the file, reports it, waits for a line, and writes one byte behind its end.
  const child = spawn(
    process.execPath,
    [main, "exec", "--dir", `${host}:/s`, "--stdin", "-", calls],
    {
      env: environment,
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  let output = "";
  let truncated = false;
  child.stdout.on("data", (bytes: Buffer) => {
    output += bytes.toString();
    if (!truncated) truncateSync(file, 0);
    truncated = true;
  });
  const wait = Buffer.alloc(48);
  wait.writeUInt32LE(1, 16);
  wait.writeBigUInt64LE(1_000_000_000n, 24);
  const steps = [
    `set 1000 ${hex("f")}`,
    "call path_open 3 0 @1000 1 0 0x1fffffff 0 0 @900",
    `set 2000 ${wait.toString("hex")}`,
    "call poll_oneoff @2000 @3000 1 @4000",
    "call fd_filestat_set_size 4 11",
  ];
  child.stdin.end(`${steps.join("\n")}\n`);
  await new Promise((end) => child.once("close", end));
  assert.ok(truncated);
  assert.deepEqual(output.trimEnd().split("\n"), ["0", "0", "29"]);
});

test("a stdin without an end is refused at its ceiling", async () => {
  const child = spawn(process.execPath, [main, "exec", "--stdin", "/dev/zero", probe, "env"], {
    env: environment,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (bytes: Buffer) => {
    said += bytes.toString();
  });
  const status = await new Promise((end) => child.once("close", end));
  assert.equal(status, 2);
  assert.match(said, /--stdin: "\/dev\/zero" has more than \d+ bytes/);
});
