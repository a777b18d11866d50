import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { addressRules } from "../../src/network/mod.ts";
import type { GitLocation, StoresOptions } from "../../src/stores/mod.ts";
import { GitServer, type GitServerOptions } from "./git-server.ts";
import { folder, secret, stores } from "./s3-kit.ts";

const own = ["user.name=a", "user.email=a@b", "init.defaultBranch=main", "protocol.file.allow=always"]; // prettier-ignore

function git(at: string, words: readonly string[], input = ""): string {
  const settings = own.flatMap((setting) => ["-c", setting]);
  const stdio = ["pipe", "pipe", "pipe"] as const;
  return execFileSync("git", [...settings, ...words], { cwd: at, encoding: "utf8", input, stdio: [...stdio] }).trim(); // prettier-ignore
}

/** A server whose repositories the test makes; names lead to 127.0.0.1, all others to what is not allowed. */
async function kit(server: GitServerOptions = {}, options: Partial<StoresOptions> = {}) {
  const base = await folder();
  const running = await GitServer.start(base.path, server);
  const rules = addressRules({
    allowedAddresses: ["127.0.0.1"],
    resolve: async (name) => [name.startsWith("inside") ? "10.0.0.1" : "127.0.0.1"],
  });
  const opened = stores(base.path, {
    reach: rules,
    operatorReach: rules,
    environment: { PATH: process.env["PATH"], HOME: base.path },
    retries: { attempts: 1 },
    ...options,
  });
  return {
    path: base.path,
    server: running,
    /** A working folder whose repository is served as `NAME.git` after `publish`. */
    make: (name: string): string => {
      const at = join(base.path, name);
      mkdirSync(at);
      git(at, ["init", "--quiet"]);
      return at;
    },
    publish: (name: string): void => {
      const at = join(base.path, name);
      git(at, ["add", "-A"]);
      git(at, ["commit", "--quiet", "--allow-empty", "-m", "m"]);
      git(base.path, ["clone", "--quiet", "--bare", at, `${name}.git`]);
    },
    get: async (name: string, more: Partial<GitLocation> = {}) =>
      opened.download(
        { kind: "git", repository: `http://${running.host}/${name}.git`, ...more },
        await mkdtemp(join(base.path, "to-")),
      ),
    [Symbol.asyncDispose]: async () => {
      await opened[Symbol.asyncDispose]();
      await running[Symbol.asyncDispose]();
      await base[Symbol.asyncDispose]();
    },
  };
}

/** Puts a submodule into a working folder by hand, with any URL. */
function addSubmodule(at: string, path: string, url: string): void {
  // git add takes a submodule away whose folder is not there.
  mkdirSync(join(at, path), { recursive: true });
  const name = path.replaceAll("/", "-");
  git(at, ["config", "-f", ".gitmodules", `submodule.${name}.path`, path]);
  git(at, ["config", "-f", ".gitmodules", `submodule.${name}.url`, url]);
  const commit = "1".repeat(40);
  git(at, ["update-index", "--add", "--cacheinfo", `160000,${commit},${path}`]);
}

describe("A URL that others read in another way", () => {
  for (const repository of [
    "ssh://good.example?@127.0.0.2/x",
    "ssh://good.example#@127.0.0.2/x",
    "ssh://127.0.0.2%2F.good.example/x",
    "ssh://a%40127.0.0.2%2F@good.example/x",
    "ssh://good.example/x@[127.0.0.2]/y",
    "ssh://good.example/x%40%5B127.0.0.2%5D/y",
    "good.example:x@[127.0.0.2]:y",
    "git://good.example%2F@127.0.0.2/x",
    "git://good.example/x%0ahost=127.0.0.2",
    "ssh://*/x",
  ]) {
    test(`is refused: ${repository}`, async () => {
      await using k = await kit();
      await assert.rejects(k.get("none", { repository }), {
        code: /invalid-argument|network-denied/,
      });
    });
  }

  test("is used as it was understood", async () => {
    await using k = await kit();
    k.make("x");
    k.publish("x");
    await using other = await GitServer.start(k.path);
    // For Node the host is the first one, for curl the second.
    const repository = `http://${k.server.host}\\@${other.host}/x.git`;
    await assert.rejects(k.get("x", { repository }), { code: /store-refused|artifact-missing/ });
    assert.equal(other.seen.length, 0);
    assert(k.server.seen.length > 0);
  });
});

describe("A submodule", () => {
  for (const [what, url] of [
    ["a relative URL that climbs over the host", "../../10.0.0.1/x"],
    ["a URL with another one behind a blank", "ssh://10.0.0.1/x y.url http://127.0.0.1/z"],
    ["a name of what may not be reached", "http://inside.example/x"],
    ["an address in one number", "http://0xA000001/x"],
    ["a metadata service", "http://169.254.169.254/latest"],
    ["a path of this machine", "/etc"],
    ["a URL for a program", "ext::touch /tmp/x"],
  ] as const) {
    test(`does not lead elsewhere by ${what}`, async () => {
      await using k = await kit();
      addSubmodule(k.make("super"), "sub", url);
      k.publish("super");
      await assert.rejects(k.get("super"), { code: /network-denied|invalid-argument/ });
    });
  }

  test("does not lead elsewhere where there are many", async () => {
    await using k = await kit();
    const at = k.make("super");
    addSubmodule(at, "a", "http://10.0.0.1/x");
    for (let count = 0; count < 150; count++) {
      addSubmodule(at, `b${count}`, `http://127.0.0.1/${"long".repeat(50)}`);
    }
    k.publish("super");
    await assert.rejects(k.get("super"), { code: "network-denied" });
    for (let count = 150; count < 250; count++) addSubmodule(at, `b${count}`, "http://127.0.0.1/x");
    git(at, ["add", ".gitmodules"]);
    git(at, ["commit", "--quiet", "-m", "more"]);
    git(k.path, ["clone", "--quiet", "--bare", at, "more.git"]);
    await assert.rejects(k.get("more"), { code: "store-refused", message: /200 submodules/ });
  });

  test("gets a login that is for another port of its host from nobody", async () => {
    await using k = await kit({ login: "me:word" });
    await using other = await GitServer.start(k.path, { login: "me:word" });
    addSubmodule(k.make("super"), "sub", `http://${other.host}/x.git`);
    k.publish("super");
    await assert.rejects(k.get("super", { user: secret("me"), password: secret("word") }), {
      code: "store-refused",
    });
    assert(other.seen.length > 0);
    assert(other.seen.every(({ authorization }) => authorization === undefined));
  });
});

describe("A tree", () => {
  test("with a folder that looks like a repository runs none of its programs", async () => {
    await using k = await kit();
    const at = k.make("super");
    const ran = join(k.path, "ran");
    // A repository without a working tree, as a plain folder of the tree, that names a program everywhere.
    const inner = join(at, "inner");
    for (const part of ["objects", "refs"]) mkdirSync(join(inner, part), { recursive: true });
    writeFileSync(join(inner, "objects", "keep"), "");
    writeFileSync(join(inner, "refs", "keep"), "");
    writeFileSync(join(inner, "HEAD"), "ref: refs/heads/main\n");
    const program = `touch ${ran}`;
    writeFileSync(
      join(inner, "config"),
      `[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = .\n\tgitProxy = ${program}\n\tsshCommand = ${program}\n\tfsmonitor = ${program}\n[submodule "x"]\n\turl = git://127.0.0.1:1/x\n\tactive = true\n\tupdate = !${program}\n[credential]\n\thelper = !${program}\n`,
    );
    writeFileSync(
      join(inner, ".gitmodules"),
      '[submodule "x"]\n\tpath = x\n\turl = git://127.0.0.1:1/x\n\tupdate = checkout\n',
    );
    writeFileSync(join(at, ".gitmodules"), '[submodule "i"]\n\tpath = inner\n\turl = ../x.git\n');
    k.publish("super");
    const got = await k.get("super");
    assert(got.kind === "directory" && got.entries.some(({ path }) => path === "inner/HEAD"));
    assert(!existsSync(ran));
  });

  test("with attributes and hooks runs none of its programs", async () => {
    await using k = await kit();
    const at = k.make("x");
    const ran = join(k.path, "ran");
    writeFileSync(join(at, ".gitattributes"), "* filter=evil diff=evil merge=evil\n");
    writeFileSync(join(at, "a"), "a");
    writeFileSync(join(at, ".gitconfig"), `[filter "evil"]\n\tsmudge = touch ${ran}\n`);
    k.publish("x");
    // Of the user whose machine this is.
    writeFileSync(join(k.path, ".gitconfig"), `[filter "evil"]\n\tsmudge = touch ${ran}\n`);
    await k.get("x");
    assert(!existsSync(ran));
  });

  test("that is in itself many times ends at the ceiling of files, while git still makes them", async () => {
    await using k = await kit({}, { limits: { files: 2000 } });
    const at = k.make("bomb");
    let object = git(at, ["hash-object", "-w", "--stdin"], "x");
    let line = `100644 blob ${object}`;
    // 16^5 files, in a few kilobytes.
    for (let depth = 0; depth < 5; depth++) {
      const names = Array.from({ length: 16 }, (_, index) => `${line}\tf${index.toString(16)}\n`);
      object = git(at, ["mktree"], names.join(""));
      line = `040000 tree ${object}`;
    }
    const commit = git(at, ["commit-tree", object, "-m", "m"]);
    git(at, ["update-ref", "refs/heads/main", commit]);
    git(k.path, ["clone", "--quiet", "--bare", at, "bomb.git"]);
    await assert.rejects(k.get("bomb"), {
      code: "artifact-too-large",
      message: /more than 2000 files/,
    });
  });

  test("with more bytes than may be is not brought", async () => {
    await using k = await kit({}, { limits: { bytes: 100_000 } });
    writeFileSync(join(k.make("x"), "zeros"), Buffer.alloc(1_000_000));
    k.publish("x");
    await assert.rejects(k.get("x"), { code: "artifact-too-large", message: /100000 bytes/ });
  });
});

describe("A server", () => {
  test("that is still for long is given up", async () => {
    await using k = await kit({ fault: () => ({ kind: "stall" }) }, { timeouts: { idleMs: 50 } });
    await assert.rejects(k.get("x"), { code: "store-unavailable", message: /Nothing came in 1 s/ });
  });

  test("is not there where git is not", async () => {
    await using k = await kit({}, { environment: { PATH: "/nonexistent" } });
    await assert.rejects(k.get("x"), { code: "store-refused", message: /no git on this machine/ });
  });
});
