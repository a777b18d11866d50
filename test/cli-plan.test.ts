import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Home, jsonLines, root } from "./cli/command.ts";

const home = new Home();
home.environment["ATALANTA_CONTAINER_RUNTIME"] = "/nowhere/docker";
after(() => home[Symbol.dispose]());

const golden = (name: string): string => readFileSync(join(root, "test/cli", name), "utf8");

describe("atalanta plan", () => {
  test("shows steps, loops, conditions, limits, locks, hooks and a missing container runtime in a tree", () => {
    const { status, stdout, stderr } = home.run(["plan", "test/cli/everything.yaml"]);
    assert.equal(status, 0, stderr);
    assert.equal(stdout, golden("plan.txt"));
  });

  test("--graph mermaid draws the same, groups in boxes, dependencies as arrows", () => {
    const { stdout } = home.run(["plan", "test/cli/everything.yaml", "--graph", "mermaid"]);
    assert.equal(stdout, golden("plan.mmd"));
  });

  test("--json gives the graph with ids, places and what each task waits for", () => {
    const { stdout } = home.run(["plan", "test/cli/everything.yaml", "--json"]);
    const plan = JSON.parse(stdout) as {
      containerRuntime: unknown;
      root: { groups: { id: string; place: unknown; groups: { after: unknown }[][] }[][] };
    };
    assert.equal(plan.containerRuntime, null);
    const graph = plan.root.groups[3]?.[0];
    assert.equal(graph?.id, "main/shared");
    assert.deepEqual(graph?.place, { file: "test/cli/everything.yaml", line: 57, column: 7 });
    assert.deepEqual(graph?.groups[0]?.[2]?.after, [
      { id: "main/shared/a", how: "Succeeded" },
      { id: "main/shared/b", how: "Failed" },
    ]);
  });

  test("a hostile text neither leaves its label in Mermaid nor reaches the terminal", () => {
    const { stdout } = home.run(["plan", "test/cli/hostile.yaml", "--graph", "mermaid"]);
    // The whole grammar that the drawing uses. Labels hold letters, digits, entities, harmless signs and line breaks.
    const label = String.raw`"(?:[\p{L}\p{N} ,./:=+×…_()'?!-]|#\d+;|<br/>)*"`;
    const nodes = String.raw`n\d+(?: & n\d+)*`;
    const line = new RegExp(
      [
        String.raw`^flowchart TD$`,
        String.raw`^ +subgraph n\d+\[${label}\]$`,
        String.raw`^ +end$`,
        String.raw`^ +n\d+(?:\[${label}\]|\[\[${label}\]\]|\(\[${label}\]\)|\(\(${label}\)\))$`,
        String.raw`^ +${nodes} (?:-->|-->\|${label}\||-\. ${label} \.->) ${nodes}(?:\(\(" "\)\))?$`,
      ].join("|"),
      "u",
    );
    const lines = stdout.trimEnd().split("\n");
    for (const text of lines) assert.match(text, line);
    assert.equal(lines.length, 15);
    const { stdout: tree } = home.run(["plan", "test/cli/hostile.yaml"]);
    // oxlint-disable-next-line no-control-regex -- control characters are what this is about
    assert.doesNotMatch(tree, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    assert.match(tree, /circle → main {2}back to main/);
  });

  test("a wrong workflow has no graph: its mistakes, exit 2, nothing on stdout", () => {
    const input = golden("everything.yaml").replace("template: tidy", "template: tidi");
    const broken = input.replace("onExit: tidy", "onExit: tidi");
    const { status, stdout, stderr } = home.run(["plan", "-"], { input: broken });
    assert.equal(status, 2);
    assert.equal(stdout, "");
    assert.match(stderr, /<stdin>:7:11: error\[workflow-invalid\].*tidi.*\n {2}hint: .*"tidy"/);
  });
});

describe("atalanta lint", () => {
  const wrong = `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: t}
spec:
  entrypoint: main
  podGC: {strategy: OnPodCompletion}
  templates:
    - name: main
      wasm: {image: x, imgae: y}
`;

  test("reads stdin, tells errors from warnings, and --strict makes errors of both", () => {
    const { status, stderr } = home.run(["lint", "-", "--json"], { input: wrong });
    assert.equal(status, 2);
    const found = jsonLines(stderr).map(({ type, place }) => ({ type, place }));
    assert.deepEqual(found, [
      { type: "error", place: { file: "<stdin>", line: 9, column: 24 } },
      { type: "warning", place: { file: "<stdin>", line: 6, column: 3 } },
    ]);
    const right = wrong.replace(", imgae: y", "");
    assert.equal(home.run(["lint", "-"], { input: right }).status, 0);
    const strict = home.run(["lint", "-", "--strict"], { input: right });
    assert.equal(strict.status, 2);
    assert.match(strict.stderr, /<stdin>:6:3: error\[workflow-unsupported\].*podGC/);
  });

  test("takes many files at once, and says which one is not there", () => {
    const files = ["examples/first/workflow.yaml", "test/cli/everything.yaml"];
    const { status, stdout } = home.run(["lint", ...files]);
    assert.equal(status, 0);
    assert.match(stdout, /everything\.yaml: no problems/);
    const missing = home.run(["lint", ...files, "/nowhere.yaml"]);
    assert.equal(missing.status, 2);
    assert.match(missing.stderr, /error\[not-found\].*\/nowhere\.yaml/);
  });

  test("on a terminal the line stands below the message, with a caret at its column", (context) => {
    const shown = home.terminal(["lint", "test/cli/wrong.yaml"]);
    if (!shown) return context.skip("util-linux's `script` is not here");
    assert.equal(shown.status, 2);
    // oxlint-disable-next-line no-control-regex -- colours
    const text = shown.screen.replace(/\u001b\[\d+m/g, "");
    const under =
      /wrong\.yaml:8:15: error.*\n {4}8 \| {7}wasm: \{ imgae: x \}\n {6}\| {15}\^\n {2}hint: Did you mean "image"/;
    assert.match(text, under);
  });
});

describe("atalanta", () => {
  test("every command has --help with an example; an unknown one says what was meant", () => {
    const { stdout } = home.run(["--help"]);
    const names = [...stdout.matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name = ""]) => name);
    assert.ok(names.includes("plan"));
    for (const name of names.filter((item) => item !== "help")) {
      const help = home.run([name, "--help"]);
      assert.equal(help.status, 0, help.stderr);
      assert.match(help.stdout, new RegExp(`Examples?:\n {2}atalanta ${name}`), name);
    }
    const unknown = home.run(["plna", "x.yaml"]);
    assert.equal(unknown.status, 2);
    assert.match(
      unknown.stderr,
      /error\[invalid-argument\].*plna.*\n {2}hint: Did you mean plan\?/,
    );
    const json = home.run(["plan", "--json", "--grpah"]);
    assert.equal(json.status, 2);
    assert.equal(jsonLines(json.stderr)[0]?.["code"], "invalid-argument");
  });

  test("kubectl finds it as a plugin", () => {
    const { status, stdout } = spawnSync(
      join(root, "bin/kubectl-atalanta.js"),
      ["submit", "--help"],
      {
        encoding: "utf8",
      },
    );
    assert.equal(status, 0);
    assert.match(stdout, /^Usage: kubectl atalanta submit .*\n {2}kubectl atalanta submit /s);
    assert.doesNotMatch(stdout, /^ *atalanta submit/m);
  });

  test("without a build, bin says what to run; with an older Node and no newer one, too", (context) => {
    const folder = join(home.folder, "package");
    mkdirSync(join(folder, "bin"), { recursive: true });
    writeFileSync(join(folder, "package.json"), '{"type": "module"}');
    cpSync(join(root, "bin/atalanta.js"), join(folder, "bin/atalanta.js"));
    const unbuilt = spawnSync(process.execPath, [join(folder, "bin/atalanta.js"), "version"]);
    assert.equal(unbuilt.status, 2);
    assert.match(
      String(unbuilt.stderr),
      /^error: Atalanta is not built: there is no .*main\.js\n {2}hint: .*: npm run build\n$/,
    );
    // The machine's own Node, where it is an older one.
    const older = (process.env["PATH"] ?? "")
      .split(":")
      .map((path) => join(path, "node"))
      .find((path) => /^v(2[0-5])\./.test(String(spawnSync(path, ["--version"]).stdout)));
    if (!older) return context.skip("there is no Node from 20 to 25 here");
    const alone = spawnSync(older, [join(folder, "bin/atalanta.js"), "version"]);
    assert.equal(alone.status, 2);
    assert.match(String(alone.stderr), /^error: Node 26 is needed.*\n {2}hint: .*: npm ci\n$/);
  });

  test("version names the version of the package, also as JSON", () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      version: string;
    };
    assert.match(home.run(["version"]).stdout, new RegExp(`^atalanta ${version} \\(Node `));
    assert.equal(JSON.parse(home.run(["version", "--json"]).stdout).version, version);
  });
});
