import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";

const root = resolve(import.meta.dirname, "..");
const home = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(() => rmSync(home, { recursive: true, force: true }));

function atalanta(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(root, "src/cli/main.ts"), ...args],
    {
      cwd: root,
      encoding: "utf8",
      env: { PATH: process.env["PATH"], HOME: home },
    },
  );
  return { status, stdout, stderr };
}

function workflow(text: string): string {
  const path = join(home, `${createHash("sha256").update(text).digest("hex").slice(0, 12)}.yaml`);
  writeFileSync(path, text);
  return path;
}

const head = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: t}\n";
const probe = join(root, "test/guests/probe/probe.wasm");
const words = ["run", "examples/words/workflow.yaml", "-a", "doc=LICENSE"];

describe("atalanta run", () => {
  test("runs the example on a real text: every word is counted once", () => {
    const out = join(home, "out");
    const { status, stdout, stderr } = atalanta(...words, "--output-dir", out);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /Succeeded in [\d.]+ m?s/);
    const counted = readFileSync(join(root, "LICENSE"), "utf8").match(/[A-Za-z]+/g)?.length;
    const page = readFileSync(join(out, "report.html"), "utf8");
    assert.match(page, new RegExp(`<p>${counted} words in \\d+ parts`));
  });

  test("names its nodes as Argo does, and reports them as JSON", () => {
    const { stdout } = atalanta(...words, "--json", "--name", "letters");
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const names = new Set(events.map((event) => event["name"]));
    for (const name of [
      "letters",
      "letters[0].split",
      "letters[1].count(0:001.txt)",
      "letters[2].join",
    ]) {
      assert.ok(names.has(name), `${name} in ${[...names].slice(0, 5).join(" ")}`);
    }
    assert.equal(events.at(-1)?.["phase"], "Succeeded");
  });

  test("a failed step says which template at which line, its exit code and its last words", () => {
    const file = workflow(`${head}spec:
  entrypoint: main
  templates:
    - name: main
      steps: [[{name: a, template: bad}]]
    - name: bad
      wasm: {module: ${probe}, command: [stderr, "no paper left", "3"]}
`);
    const { status, stderr } = atalanta("run", file);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /✖ t\[0\]\.a {2}Failed: .*exit code 3.*\n {2}template "bad" at .*\.yaml:9\n/,
    );
    assert.match(stderr, /\| no paper left/);
  });

  test("a dag passes parameters, artifacts and exit codes, and omits what waits for a failure", () => {
    const leaf = (name: string, rest: string): string =>
      `    - name: ${name}\n      wasm: {module: ${probe}, ${rest}}\n`;
    const file = workflow(`${head}spec:
  entrypoint: main
  arguments: {parameters: [{name: text, value: one}]}
  templates:
    - name: main
      dag:
        tasks:
          - {name: write, template: write}
          - {name: read, template: read, dependencies: [write], arguments: {artifacts: [{name: f, from: "{{tasks.write.outputs.artifacts.f}}"}]}}
          - {name: fails, template: fails, dependencies: [read], when: "{{tasks.read.outputs.result}} == two"}
          - {name: never, template: fails, dependencies: [fails]}
    - name: read
      inputs: {artifacts: [{name: f, path: /in/f}]}
      wasm: {module: ${probe}, command: [cat, /in/f]}
    - name: write
      outputs: {artifacts: [{name: f, path: /out/f}]}
      wasm: {module: ${probe}, command: [write, /out/f, "{{workflow.parameters.text}}"]}
${leaf("fails", "command: [exit, 9]")}`);
    const { status, stdout, stderr } = atalanta(
      "run",
      file,
      "-p",
      "text=two",
      "--json",
      "--name",
      "graph",
    );
    assert.equal(status, 1, stderr);
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const last = (name: string) => events.findLast((event) => event["name"] === name);
    const read = last("graph.read")?.["outputs"] as { result: string };
    assert.equal(read.result, "two");
    assert.equal(last("graph.fails")?.["phase"], "Failed");
    assert.equal(last("graph.never")?.["phase"], "Omitted");
  });

  test("output parameters come from files, defaults and enclosed steps; loops over mappings gather lists", () => {
    const file = workflow(`${head}spec:
  entrypoint: main
  templates:
    - name: main
      outputs:
        parameters:
          - {name: all, valueFrom: {parameter: "{{steps.each.outputs.parameters.text}}"}}
          - {name: results, valueFrom: {parameter: "{{steps.each.outputs.result}}"}}
      steps:
        - - name: each
            template: note
            withItems: [{text: one, n: 1}, {text: two, n: 2}]
            arguments: {parameters: [{name: text, value: "{{item.text}}-{{item.n}}"}]}
    - name: note
      inputs: {parameters: [{name: text}, {name: mode, default: plain, enum: [plain, rich]}]}
      outputs:
        parameters:
          - {name: text, valueFrom: {path: /out/text}}
          - {name: none, valueFrom: {path: /out/none, default: empty}}
      wasm: {module: ${probe}, command: [write, /out/text, "{{inputs.parameters.text}} {{inputs.parameters.mode}}"]}
`);
    const { status, stdout, stderr } = atalanta("run", file, "--json", "--name", "gather");
    assert.equal(status, 0, stderr);
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const { outputs } = events.at(-1) as { outputs: { parameters: Record<string, string> } };
    const { parameters } = outputs;
    assert.deepEqual(JSON.parse(parameters["all"] ?? ""), ["one-1 plain", "two-2 plain"]);
    assert.deepEqual(JSON.parse(parameters["results"] ?? ""), ["", ""]);
    assert.ok(events.some((event) => event["name"] === "gather[0].each(1:n:2,text:two)"));
  });

  test("a large file passes between steps, also where two outputs share it", () => {
    const file = workflow(`${head}spec:
  entrypoint: main
  templates:
    - name: main
      outputs: {artifacts: [{name: copy, from: "{{steps.copy.outputs.artifacts.f}}"}]}
      steps:
        - [{name: fill, template: fill}]
        - [{name: copy, template: copy, arguments: {artifacts: [{name: f, from: "{{steps.fill.outputs.artifacts.g}}"}]}}]
    - name: fill
      outputs: {artifacts: [{name: f, path: /out/f}, {name: g, path: /out/f}]}
      wasm: {module: ${probe}, command: [fill, /out/f, 5000000]}
    - name: copy
      inputs: {artifacts: [{name: f, path: /in/f}]}
      outputs: {artifacts: [{name: f, path: /out/f}]}
      wasm: {module: ${probe}, command: [copy, /in/f, /out/f]}
`);
    const out = join(home, "large");
    const { status, stderr } = atalanta("run", file, "--output-dir", out);
    assert.equal(status, 0, stderr);
    const bytes = readFileSync(join(out, "copy"));
    assert.equal(bytes.length, 5_000_000);
    assert.equal(bytes[0], Math.trunc(5_000_000 / 65_536) + 1);
    assert.equal(bytes.at(-1), 1);
  });

  const bad: readonly (readonly [string, string[], RegExp])[] = [
    [
      "an artifact that is not given",
      ["run", "examples/words/workflow.yaml"],
      /artifact "doc" is not given/,
    ],
    [
      "an artifact file that is not there",
      [...words.slice(0, 2), "-a", "doc=/nowhere"],
      /artifact-missing.*\/nowhere/,
    ],
    ["a parameter that nobody asked for", [...words, "-p", "dpi=1"], /no parameter "dpi"/],
    ["a workflow file that is not there", ["run", "/nowhere.yaml"], /not-found.*\/nowhere\.yaml/],
  ];
  for (const [name, args, message] of bad) {
    test(`${name} is an error with a code and exit 2`, () => {
      const { status, stderr } = atalanta(...args);
      assert.equal(status, 2, stderr);
      assert.match(stderr, message);
      assert.match(stderr, /hint:/);
    });
  }
});

describe("atalanta lint", () => {
  test("ten mistakes give ten messages in one pass, each with its place and a hint", () => {
    const file = workflow(`${head}spec:
  entrypoint: mian
  templates:
    - name: main
      steps:
        - - name: a
            template: hullo
          - name: a
            template: hello
            arguments: {parameters: [{name: wrong, value: "{{inputs.parameters.nothing}}"}]}
    - name: hello
      inputs: {parameters: [{name: text}], artifacts: [{name: doc, path: ../doc, optional: true}]}
      wasm: {image: x, limits: {memory: lots}, args: ["{{inputs.parameters.txt}}"]}
    - name: circle
      steps: [[{name: again, template: circle}]]
`);
    const { status, stderr } = atalanta("lint", file, "--json");
    assert.equal(status, 2);
    const problems = stderr
      .trim()
      .split("\n")
      .map(
        (line) => JSON.parse(line) as { message: string; hint?: string; place?: { line: number } },
      );
    assert.equal(problems.length, 10, stderr);
    for (const problem of problems)
      assert.ok(problem.place && problem.hint !== undefined, problem.message);
    assert.ok(problems.some((problem) => problem.hint === 'Did you mean "main"?'));
  });

  test("a key that is not supported is named with its line, never ignored", () => {
    const file = workflow(`${head}spec:
  entrypoint: main
  volumes: []
  templates:
    - name: main
      wasm: {image: x, imgae: y}
`);
    const { status, stderr } = atalanta("lint", file);
    assert.equal(status, 2);
    assert.match(stderr, /:6:3: error\[workflow-unsupported\].*"volumes"/);
    assert.match(
      stderr,
      /:9:24: error\[workflow-invalid\]: Unknown key "imgae".*\n.*Did you mean "image"/,
    );
  });

  test("templates and tasks that lead back to themselves are named with the way round", () => {
    const file = workflow(`${head}spec:
  entrypoint: main
  templates:
    - name: main
      dag: {tasks: [{name: a, template: leaf, dependencies: [b]}, {name: b, template: leaf, dependencies: [a]}]}
    - name: leaf
      wasm: {image: x}
    - name: one
      steps: [[{name: s, template: two}]]
    - name: two
      steps: [[{name: s, template: one}]]
`);
    const { status, stderr } = atalanta("lint", file);
    assert.equal(status, 2);
    assert.match(stderr, /Task "a" waits for itself: a → b → a/);
    assert.match(stderr, /Template "one" leads back to itself: one → two → one/);
  });

  test("a YAML bomb and broken YAML are errors with a place", () => {
    const names = "abcdefghij".split("");
    const bomb = names.map(
      (name, index) =>
        `  ${name}: &${name} [${
          index === 0
            ? "x"
            : Array(10)
                .fill(`*${names[index - 1]}`)
                .join(", ")
        }]`,
    );
    const bombed = atalanta(
      "lint",
      workflow(
        `${head.replace("{name: t}", "\n  labels: {}")}  annotations:\n  ${bomb.join("\n  ")}\nspec: {entrypoint: a, templates: []}\n`,
      ),
    );
    assert.equal(bombed.status, 2);
    assert.match(bombed.stderr, /workflow-invalid.*alias/i);
    const broken = atalanta("lint", workflow("a: [1, 2\nb: {"));
    assert.match(broken.stderr, /\.yaml:\d+:\d+: error\[workflow-invalid\]: YAML/);
  });
});

describe("atalanta exec", () => {
  test("gives the guest's output and exit code, a trap's functions, and a time limit", () => {
    assert.equal(atalanta("exec", "test/guests/hello/hello.wasm").stdout, "hello\n");
    assert.equal(atalanta("exec", probe, "--", "exit", "7").status, 7);
    const trap = atalanta("exec", probe, "trap");
    assert.equal(trap.status, 134);
    assert.match(trap.stderr, /at inner_trap\n {2}at outer_trap/);
    const late = atalanta("exec", probe, "--time", "100ms", "loop");
    assert.equal(late.status, 124);
    assert.match(late.stderr, /limit-time/);
  });

  test("a limit that is given twice, or that says nothing here, is an error", () => {
    for (const [options, word] of [
      [["--memory", "1Mi", "--limit", "memory=2Mi"], "--memory and --limit memory"],
      [["--time", "1s", "--limit", "time=2s"], "--time and --limit time"],
      [["--limit", "logLines=5"], "logLines says nothing"],
    ] as const) {
      const { status, stderr } = atalanta("exec", ...options, probe, "env");
      assert.equal(status, 2, stderr);
      assert.ok(stderr.includes(word), stderr);
    }
  });

  test("a folder or stdin file that is not there is an error with a code", () => {
    for (const option of ["--dir=/nowhere:/in:ro", "--stdin=/nowhere"]) {
      const { status, stderr } = atalanta("exec", option, probe, "env");
      assert.equal(status, 2, stderr);
      assert.match(stderr, /invalid-argument.*\/nowhere/);
    }
  });

  test("a folder is writable unless it says ro: what the guest changed is written back", () => {
    const shared = mkdtempSync(join(home, "shared-"));
    const at = (name: string): string => join(shared, name);
    for (const name of ["a", "b", "c"]) writeFileSync(at(name), name);
    const run = (mode: string, ...args: readonly string[]) =>
      atalanta("exec", probe, "--dir", `${shared}:/s${mode}`, "--", ...args);
    assert.equal(run(":ro", "write", "/s/a", "x").status, 1);
    assert.equal(readFileSync(at("a"), "utf8"), "a");
    assert.equal(run("", "write", "/s/a", "new").status, 0);
    assert.equal(run(":rw", "rename", "/s/b", "/s/c").status, 0);
    assert.equal(run("", "mkdir", "/s/d").status, 0);
    assert.equal(run("", "copy", "/s/a", "/s/d/e").status, 0);
    assert.equal(run("", "unlink", "/s/a").status, 0);
    const left: string[] = readdirSync(shared, { recursive: true, encoding: "utf8" });
    assert.deepEqual(new Set(left), new Set(["c", "d", "d/e"]));
    assert.equal(readFileSync(at("c"), "utf8"), "b");
    assert.equal(readFileSync(at("d/e"), "utf8"), "new");
    assert.equal(run("", "fill", "/s/big", "3000000").status, 0);
    assert.equal(statSync(at("big")).size, 3_000_000);
  });

  test("neither a link of the host's nor one of the guest's leads out of a writable folder", () => {
    const shared = mkdtempSync(join(home, "shared-"));
    const outside = join(home, "outside");
    writeFileSync(outside, "safe");
    symlinkSync(outside, join(shared, "absolute"));
    symlinkSync("../outside", join(shared, "relative"));
    const run = (...args: readonly string[]) =>
      atalanta("exec", probe, "--dir", `${shared}:/s`, "--", ...args);
    for (const name of ["absolute", "relative"]) {
      assert.equal(run("cat", `/s/${name}`).status, 1);
      assert.equal(run("write", `/s/${name}`, "x").status, 1);
    }
    assert.equal(run("rename", "/s/absolute", "/s/moved").status, 0);
    assert.equal(readlinkSync(join(shared, "moved")), outside);
    assert.match(run("symlink", "../elsewhere", "/s/mine").stderr, /not made: "mine" leads out/);
    assert.equal(run("symlink", "d/e", "/s/inner").status, 0);
    assert.equal(readlinkSync(join(shared, "inner")), "d/e");
    assert.equal(existsSync(join(shared, "mine")), false);
    assert.equal(readFileSync(outside, "utf8"), "safe");
  });

  test("a guest that is stopped leaves a writable folder as it was, and says so", () => {
    const shared = mkdtempSync(join(home, "shared-"));
    const late = atalanta("exec", probe, "--dir", `${shared}:/s`, "--time", "100ms", "loop");
    assert.equal(late.status, 124);
    assert.match(late.stderr, /is as it was before/);
    assert.equal(atalanta("exec", probe, "--dir", `${shared}:/s:rx`, "env").status, 2);
  });

  test("shows a folder read-only, and nothing else of the host", () => {
    assert.match(
      atalanta("exec", probe, "--dir", "examples/words:/in:ro", "ls", "/in").stdout,
      /workflow\.yaml/,
    );
    assert.equal(
      atalanta("exec", probe, "--dir", "examples/words:/in:ro", "cat", "/in/../LICENSE").status,
      1,
    );
    assert.equal(atalanta("exec", probe, "ls", "/").status, 1);
  });
});
