import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { leaf, User } from "./setting.ts";
import { WebServer } from "./web-server.ts";

let web: WebServer;
before(async () => {
  web = await WebServer.start();
});
after(() => web[Symbol.asyncDispose]());

/** A repository of two commits, which the web server gives as files. Returns the first commit. */
function repository(user: User): string {
  const work = join(user.folder, "work");
  const bare = join(user.folder, "bare.git");
  const git = (...args: readonly string[]): string =>
    execFileSync("git", args, {
      cwd: user.folder,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      env: {
        PATH: process.env["PATH"],
        HOME: user.folder,
        GIT_CONFIG_NOSYSTEM: "1",
        GIT_AUTHOR_NAME: "a",
        GIT_AUTHOR_EMAIL: "a@example.com",
        GIT_COMMITTER_NAME: "a",
        GIT_COMMITTER_EMAIL: "a@example.com",
      },
    });
  git("init", "-q", "-b", "main", work);
  writeFileSync(join(work, "doc.txt"), "first");
  git("-C", work, "add", ".");
  git("-C", work, "commit", "-q", "-m", "first");
  const commit = git("-C", work, "rev-parse", "HEAD").trim();
  writeFileSync(join(work, "doc.txt"), "second");
  git("-C", work, "commit", "-q", "-a", "-m", "second");
  git("clone", "-q", "--bare", work, bare);
  git("-C", bare, "update-server-info");
  web.files("/source.git/", bare);
  return commit;
}

describe("git", () => {
  test("is checked out at a revision; a commit is fetched once for all steps of a run", async () => {
    using user = new User();
    const commit = repository(user);
    const repo = `http://${web.host}/source.git`;
    const file = (git: object, steps: number): string =>
      user.workflow({
        entrypoint: "main",
        parallelism: 1,
        templates: [
          {
            name: "main",
            steps: [[{ name: "a", template: "leaf", withSequence: { count: steps } }]],
          },
          leaf("leaf", ["cat", "/in/doc.txt"], {
            inputs: { artifacts: [{ name: "in", path: "/in", git: { repo, ...git } }] },
          }),
        ],
      });
    const args = ["--allow-address", "127.0.0.1", "--generate-name", "run-"];
    const count = (): number => web.asked("/source.git/info/refs?service=git-upload-pack").length;
    const latest = await user.run("run", file({}, 1), ...args);
    assert.equal(latest.status, 0, latest.stderr);
    assert.match((await user.run("logs", "@latest")).stdout, /second/);
    const once = count();
    assert(once > 0);
    const old = await user.run("run", file({ revision: commit }, 4), ...args);
    assert.equal(old.status, 0, old.stderr);
    assert.equal((await user.run("logs", "@latest")).stdout.match(/first/g)?.length, 4);
    assert.equal(count() - once, once, "as often as for one step");
    const before = count();
    await user.run("run", file({ revision: "main" }, 3), ...args);
    assert.equal(count() - before, 3 * once, "a branch may be another one by now");
    const missing = await user.run("run", file({ revision: "nonesuch" }, 1), ...args);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /nonesuch/);
  });
});
