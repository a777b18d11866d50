import assert from "node:assert/strict";
import { globSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { Home, root } from "./cli/command.ts";

const act = join(root, "test/guests/act/act.wasm");
const hoursAgo = new Date(Date.now() - 3 * 3_600_000);

/** A home whose runs have an artifact of their own, one that all share, a log, a given artifact and a failing last step. */
function fresh() {
  const home = new Home();
  after(() => home[Symbol.dispose]());
  const data = join(home.folder, "data");
  home.environment["ATALANTA_HOME"] = data;
  const workflow = join(home.folder, "workflow.yaml");
  writeFileSync(
    workflow,
    `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: { generateName: w- }
spec:
  entrypoint: main
  arguments: { parameters: [{ name: own }, { name: exit, value: 0 }], artifacts: [{ name: doc }] }
  templates:
    - name: main
      inputs: { artifacts: [{ name: doc }] }
      outputs: { artifacts: [{ name: own, from: "{{tasks.make.outputs.artifacts.own}}" }, { name: shared, from: "{{tasks.make.outputs.artifacts.shared}}" }] }
      dag: { tasks: [{ name: make, template: make }, { name: last, template: last, depends: make, arguments: { artifacts: [{ name: doc, from: "{{inputs.artifacts.doc}}" }, { name: own, from: "{{tasks.make.outputs.artifacts.own}}" }] } }] }
    - name: make
      memoize: { key: "{{workflow.parameters.own}}", cache: { configMap: { name: made } } }
      outputs: { artifacts: [{ name: own, path: /tmp/own }, { name: shared, path: /tmp/shared }] }
      wasm: { module: ${act}, args: [write, /tmp/own, "own {{workflow.parameters.own}}", ;, write, /tmp/shared, all have it, ;, line, "log {{workflow.parameters.own}}"] }
    - name: last
      inputs: { artifacts: [{ name: doc, path: /tmp/doc }, { name: own, path: /tmp/own }] }
      wasm: { module: ${act}, args: [cat, /tmp/doc, ;, cat, /tmp/own, ;, unless, "{{workflow.parameters.exit}}", "0", 3] }
`,
  );
  const doc = join(home.folder, "doc");
  const run = (name: string, own: string, exit: number): void => {
    writeFileSync(doc, `given to ${name}`);
    const words = ["-p", `own=${own}`, "-p", `exit=${exit}`, "-a", `doc=${doc}`];
    const { status, stderr } = home.run(["run", workflow, "--name", name, "--quiet", ...words]);
    assert.equal(status, exit === 0 ? 0 : 1, stderr);
  };
  const blobs = (): readonly string[] => globSync("artifacts/{sha256,packs}/*/*", { cwd: data });
  const age = (): void => {
    for (const path of blobs()) utimesSync(join(data, path), hoursAgo, hoursAgo);
  };
  const size = (): number =>
    blobs().reduce((sum, path) => sum + statSync(join(data, path)).size, 0);
  return { home, run, blobs, age, size, data };
}

test("deleting all runs of yesterday frees what they stored, but for what is memoized", () => {
  const { home, run, age, size, blobs } = fresh();
  run("one", "1", 0);
  run("two", "2", 0);
  age();
  const before = size();
  const { status, stdout, stderr } = home.run(["delete", "--all"]);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /of artifacts removed\n$/);
  assert.ok(size() < before, `${size()} of ${before} bytes left`);
  // "own 1", "own 2" and "all have it": a later run may recall them.
  assert.equal(blobs().length, 3);
});

test("what was stored just now stays, and the next delete removes it", () => {
  const { home, run, age, blobs } = fresh();
  run("young", "1", 0);
  const before = blobs().length;
  assert.equal(home.run(["delete", "young"]).stdout, "workflow young deleted\n");
  assert.equal(blobs().length, before);
  age();
  assert.match(home.run(["delete", "--all"]).stdout, /^\d+ B of artifacts removed\n$/);
});

test("of two runs that share artifacts the one that stays can be read, exported and retried", () => {
  const { home, run, age } = fresh();
  run("goes", "1", 0);
  run("stays", "2", 3);
  age();
  assert.equal(home.run(["delete", "goes", "--dry-run"]).status, 0);
  assert.match(home.run(["delete", "goes"]).stdout, /of artifacts removed/);
  assert.match(home.run(["logs", "stays", "make"]).stdout, /log 2/);
  const retried = home.run(["retry", "stays", "-p", "exit=0", "--quiet"]);
  assert.equal(retried.status, 0, retried.stderr);
  const out = join(home.folder, "out");
  assert.equal(home.run(["get", "stays", "--output-dir", out]).status, 0);
  assert.equal(readFileSync(join(out, "shared"), "utf8"), "all have it");
  assert.equal(readFileSync(join(out, "own"), "utf8"), "own 2");
  assert.match(home.run(["logs", "stays", "last"]).stdout, /given to staysown 2/);
});

test("with a run whose journal is damaged nothing is removed", async () => {
  const { home, run, age, blobs, data } = fresh();
  run("fine", "1", 0);
  run("hurt", "2", 0);
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(join(data, "journal.db"));
  database.exec("UPDATE event SET body = '{}' WHERE run = 2 AND sequence = 1");
  database.close();
  age();
  const before = blobs().length;
  const { status, stderr } = home.run(["delete", "fine"]);
  assert.equal(status, 2);
  assert.match(stderr, /error\[journal-format\]/);
  assert.equal(blobs().length, before);
  assert.match(home.run(["delete", "hurt"]).stdout, /of artifacts removed/);
});
