import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, symlinkSync, writeFileSync, mkdirSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Failure } from "../../src/errors/mod.ts";
import { addressRules } from "../../src/network/mod.ts";
import type { Downloaded, GitLocation } from "../../src/stores/mod.ts";
import { GitServer, type GitServerOptions } from "./git-server.ts";
import { folder, secret, stores } from "./s3-kit.ts";

/** git, for the tests' own repositories. */
function git(at: string, ...words: readonly string[]): string {
  return execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", ...words], { cwd: at, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim(); // prettier-ignore
}

function commit(at: string, files: Readonly<Record<string, string>>, message = "m"): string {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(at, name, ".."), { recursive: true });
    writeFileSync(join(at, name), text);
  }
  git(at, "add", "-A");
  git(at, "commit", "--quiet", "--allow-empty", "-m", message);
  return git(at, "rev-parse", "HEAD");
}

interface Kit extends AsyncDisposable {
  readonly server: GitServer;
  readonly path: string;
  readonly first: string;
  readonly second: string;
  readonly get: (more?: Partial<GitLocation>, signal?: AbortSignal) => Promise<Downloaded>;
}

/** A repository with two commits, a tag on the first, and a branch beside. */
async function kit(options: GitServerOptions = {}, reach = ["127.0.0.0/8"]): Promise<Kit> {
  const base = await folder();
  const work = join(base.path, "work");
  mkdirSync(work);
  git(work, "init", "--quiet");
  const first = commit(work, { "a.txt": "one", "d/b.txt": "b" });
  git(work, "tag", "v1");
  git(work, "branch", "side");
  symlinkSync("/etc/passwd", join(work, "outside"));
  const second = commit(work, { "a.txt": "two" });
  git(work, "checkout", "--quiet", "side");
  commit(work, { "side.txt": "side" });
  git(work, "checkout", "--quiet", "main");
  git(base.path, "clone", "--quiet", "--bare", work, "repo.git");
  const server = await GitServer.start(base.path, options);
  const rules = addressRules({ allowedAddresses: reach, resolve: async () => ["127.0.0.1"] });
  const opened = stores(base.path, { reach: rules, operatorReach: rules, environment: { PATH: process.env["PATH"], HOME: base.path } }); // prettier-ignore
  return {
    server,
    path: base.path,
    first,
    second,
    get: async (more = {}, signal) =>
      opened.download(
        { kind: "git", repository: `http://${server.host}/repo.git`, ...more },
        await mkdtemp(join(base.path, "to-")),
        { signal },
      ),
    async [Symbol.asyncDispose]() {
      await opened[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      await base[Symbol.asyncDispose]();
    },
  };
}

function textOf(found: Downloaded, path: string): string | undefined {
  assert.equal(found.kind, "directory");
  const entry = found.entries.find((item) => item.path === path);
  if (entry?.kind !== "file" || entry.content.kind !== "slice") return undefined;
  return readFileSync(entry.content.path, "utf8");
}

function failed(code: Failure["code"], word: string | RegExp): (thrown: unknown) => true {
  return (thrown) => {
    assert(thrown instanceof Failure, String(thrown));
    assert.equal(thrown.code, code, thrown.message);
    assert.match(thrown.message, word instanceof RegExp ? word : new RegExp(word));
    return true;
  };
}

describe("A repository", () => {
  test("is brought with its tree and its .git, at what is asked for", async () => {
    await using all = await kit();
    const usual = await all.get();
    assert.equal(textOf(usual, "a.txt"), "two");
    assert.equal(textOf(usual, "d/b.txt"), "b");
    assert.match(textOf(usual, ".git/HEAD") ?? "", /main/);
    assert.ok(usual.kind === "directory");
    const link = usual.entries.find(({ path }) => path === "outside");
    assert.equal(link?.kind === "symlink" && link.target, "/etc/passwd");
    for (const revision of ["v1", all.first, all.first.slice(0, 10), "refs/tags/v1"]) {
      assert.equal(textOf(await all.get({ revision }), "a.txt"), "one", revision);
    }
    for (const revision of ["side", "refs/heads/side"]) {
      assert.equal(textOf(await all.get({ revision }), "side.txt"), "side", revision);
    }
  });

  test("is brought in part: depth, one branch, further references", async () => {
    await using all = await kit();
    const shallow = await all.get({ depth: 1 });
    assert.equal(textOf(shallow, ".git/shallow")?.includes(all.second), true);
    // An older commit is fetched when it is asked for.
    assert.equal(textOf(await all.get({ depth: 1, revision: all.first }), "a.txt"), "one");
    const one = await all.get({ singleBranch: true, branch: "side", depth: 1 });
    assert.equal(textOf(one, "side.txt"), "side");
    assert.ok(one.kind === "directory" && !one.entries.some(({ path }) => path.endsWith("/main")));
    await all.get({ fetch: ["refs/heads/*:refs/remotes/more/*"] });
    await assert.rejects(
      all.get({ singleBranch: true }),
      failed("invalid-argument", "no branch is named"),
    );
  });

  test("has its submodules, also those in others", async () => {
    await using all = await kit();
    for (const name of ["inner", "outer"]) {
      const at = join(all.path, `${name}-work`);
      mkdirSync(at);
      git(at, "init", "--quiet");
      commit(at, { [`${name}.txt`]: name });
      if (name === "outer") {
        git(at, "submodule", "--quiet", "add", join(all.path, "inner.git"), "sub");
        git(at, "config", "-f", ".gitmodules", "submodule.sub.url", "../inner.git");
        commit(at, {});
      }
      git(all.path, "clone", "--quiet", "--bare", at, `${name}.git`);
    }
    const repository = `http://${all.server.host}/outer.git`;
    assert.equal(textOf(await all.get({ repository }), "sub/inner.txt"), "inner");
    assert.equal(
      textOf(await all.get({ repository, submodules: false }), "sub/inner.txt"),
      undefined,
    );
  });

  test("gets a login, and nobody else does", async () => {
    await using all = await kit({ login: "me:pass word" });
    await assert.rejects(all.get(), failed("store-refused", /read Username|Authentication failed/));
    const login = { user: secret("me"), password: secret("pass word") };
    assert.equal(textOf(await all.get(login), "a.txt"), "two");
    await assert.rejects(
      all.get({ ...login, password: secret("wrong") }),
      (thrown) => failed("store-refused", "Authentication failed")(thrown) && !String(thrown).includes("wrong"), // prettier-ignore
    );
    const found = await all.get(login);
    assert.doesNotMatch(textOf(found, ".git/config") ?? "", /pass/);
    // A submodule on another host gets none.
    await using other = await GitServer.start(all.path);
    const at = join(all.path, "super-work");
    mkdirSync(at);
    git(at, "init", "--quiet");
    commit(at, { x: "x" });
    git(at, "submodule", "--quiet", "add", join(all.path, "repo.git"), "sub");
    git(at, "config", "-f", ".gitmodules", "submodule.sub.url", `http://${other.host}/repo.git`);
    commit(at, {});
    git(all.path, "clone", "--quiet", "--bare", at, "super.git");
    const whole = await all.get({ ...login, repository: `http://${all.server.host}/super.git` });
    assert.equal(textOf(whole, "sub/a.txt"), "two");
    assert.ok(other.seen.length > 0);
    assert.ok(other.seen.every(({ authorization }) => authorization === undefined));
  });
});

describe("A hostile repository", () => {
  test("cannot name anything but a place on the network", async () => {
    await using all = await kit();
    for (const repository of [
      "file:///etc",
      all.path,
      "ext::sh -c touch%20/tmp/x",
      "--upload-pack=touch /tmp/x",
      "http://user:hunter2@host/x",
      "ssh://-oProxyCommand=x/y",
      "-oProxyCommand=x@host:y",
      "",
    ]) {
      await assert.rejects(
        all.get({ repository }),
        (thrown) => failed("invalid-argument", "no place of a git repository")(thrown) && !String(thrown).includes("hunter2"), // prettier-ignore
        repository,
      );
    }
    for (const more of [
      { revision: "--upload-pack=x" },
      { branch: "-x", singleBranch: true },
      { fetch: ["--exec=x"] },
      { revision: "a b" },
    ]) {
      await assert.rejects(all.get(more), failed("invalid-argument", "of a git repository"));
    }
  });

  test("reaches no address that the operator has not allowed, by itself or by a submodule", async () => {
    await using closed = await kit({}, []);
    await assert.rejects(closed.get(), failed("network-denied", "loopback"));
    await assert.rejects(
      closed.get({ repository: "http://named.example/x.git" }),
      failed("network-denied", "loopback"),
    );
    assert.equal(closed.server.seen.length, 0);
    await using all = await kit();
    for (const url of ["http://169.254.169.254/x", "file:///etc", "ext::sh -c id"]) {
      const at = await mkdtemp(join(all.path, "bad-"));
      git(at, "init", "--quiet");
      commit(at, { x: "x" });
      git(at, "submodule", "--quiet", "add", join(all.path, "repo.git"), "sub");
      git(at, "config", "-f", ".gitmodules", "submodule.sub.url", url);
      commit(at, {});
      const name = `${at.slice(all.path.length + 1)}.git`;
      git(all.path, "clone", "--quiet", "--bare", at, name);
      await assert.rejects(
        all.get({ repository: `http://${all.server.host}/${name}` }),
        (thrown) => thrown instanceof Failure && /network-denied|invalid-argument|store-refused/.test(thrown.code), // prettier-ignore
        url,
      );
    }
  });

  test("cannot lead elsewhere by a redirect", async () => {
    await using other = await kit();
    const to = `http://${other.server.host}/repo.git/info/refs?service=git-upload-pack`;
    await using all = await kit({
      fault: () => ({ kind: "answer", status: 302, headers: { location: to } }),
    });
    await assert.rejects(all.get(), failed("store-refused", "git says"));
    assert.equal(other.server.seen.length, 0);
  });
});

describe("When something goes wrong, a repository", () => {
  test("is refused with what git said, or tried again", async () => {
    for (const [status, code, requests] of [
      [403, "store-refused", 1],
      [404, "artifact-missing", 1],
      [503, "store-unavailable", 5],
    ] as const) {
      await using all = await kit({ fault: () => ({ kind: "answer", status }) });
      await assert.rejects(all.get(), failed(code, `${status}|not found`));
      assert.equal(all.server.seen.length, requests, String(status));
    }
    await using flaky = await kit({
      fault: (_, count) =>
        count === 0
          ? { kind: "answer", status: 503 }
          : count === 2
            ? { kind: "cut", afterBytes: 50 }
            : undefined,
    });
    assert.equal(textOf(await flaky.get(), "a.txt"), "two");
    await assert.rejects(flaky.get({ revision: "nowhere" }), failed("artifact-missing", "nowhere"));
    await assert.rejects(flaky.get({ branch: "nowhere", singleBranch: true }), failed("artifact-missing", "nowhere")); // prettier-ignore
  });

  test("stops when it is told to, and leaves nothing", async () => {
    await using all = await kit({
      fault: (_, count) => (count > 0 ? { kind: "stall" } : undefined),
    });
    const stop = new AbortController();
    const getting = all.get({}, stop.signal);
    while (all.server.seen.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    stop.abort(new Error("enough"));
    await assert.rejects(getting, /enough/);
    assert.deepEqual(readdirSync(join(all.path, "parts")), []);
  });
});
