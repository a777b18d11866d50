import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, describe, test } from "node:test";
import { Home, root } from "./cli/command.ts";

const home = new Home();
after(() => home[Symbol.dispose]());
const act = join(root, "test/guests/act/act.wasm");
const letter = "examples/letterflow/letter.tiff";

function file(name: string, content: string | Uint8Array): string {
  const path = join(home.folder, name);
  writeFileSync(path, content);
  return path;
}

const headOf = (name: string): string => `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: { name: ${name} }
spec:
  entrypoint: main
`;

/** A workflow of one good step and one with this module after it. */
function withModule(name: string, module: string): string {
  return file(
    `${name}.yaml`,
    `${headOf(name)}  templates:
    - { name: main, steps: [[{ name: good, template: good }], [{ name: bad, template: bad }]] }
    - { name: good, wasm: { module: ${act}, args: [echo, fine] } }
    - { name: bad, wasm: { module: ${JSON.stringify(module)} } }
`,
  );
}

describe("a module that cannot run is an error with a code, and the step before it stays done", () => {
  const bytes = readFileSync(act);
  // One function type, and an import of it that no host has: `(import "env" "magic" (func))`.
  const imports = "0061736d01000000010401600000020d0103656e76056d616769630000";
  for (const [name, content, code] of [
    ["not-wasm", Buffer.from("hello"), "module-invalid"],
    ["truncated", bytes.subarray(0, 300), "module-invalid"],
    ["component", Buffer.from("0061736d0d000100", "hex"), "module-component"],
    ["missing-import", Buffer.from(imports, "hex"), "module-import"],
    ["missing", undefined, "module-not-found"],
  ] as const) {
    test(name, () => {
      const module = join(home.folder, `${name}.wasm`);
      if (content) writeFileSync(module, content);
      const { status, stderr } = home.run(["run", withModule(name, module), "--quiet"]);
      assert.equal(status, 1, stderr);
      const { stdout } = home.run(["get", name, "-o", "json"]);
      const run = JSON.parse(stdout) as {
        readonly status: {
          readonly nodes: Readonly<Record<string, { displayName: string; phase: string }>>;
        };
      };
      const phases = new Map(
        Object.values(run.status.nodes).map((node) => [node.displayName, node.phase]),
      );
      assert.equal(phases.get("good"), "Succeeded");
      assert.equal(phases.get("bad"), "Error");
      assert.match(stderr, /hint:/);
      const { stderr: alone } = home.run(["exec", module]);
      assert.match(alone, new RegExp(`error\\[${code}\\]`));
    });
  }
});

describe("wrong input ends with exit code 2 before anything begins", () => {
  test("an artifact path with ..", () => {
    const text = `${headOf("dots")}  templates:
    - name: main
      inputs: { artifacts: [{ name: a, path: /tmp/../etc, raw: { data: x } }] }
      wasm: { module: ${act} }
`;
    refused(
      ["run", file("dots.yaml", text)],
      /dots\.yaml:8:46: error\[workflow-invalid\].*leads outside/,
    );
  });

  test("a file for -a that is not there", () => {
    refused(
      ["run", "examples/letterflow/workflow.yaml", "-a", "doc=/nope.tiff"],
      /error\[artifact-missing\].*\/nope\.tiff/,
    );
  });

  test("an --output-dir that is a file", () => {
    const args = ["run", "examples/letterflow/workflow.yaml", "-a", `doc=${letter}`];
    refused([...args, "--output-dir", file("taken", "")], /error\[invalid-argument\].*taken/);
  });

  test("a parameter of 100 MB, in a file of parameters and in the document", () => {
    const large = "x".repeat(100_000_000);
    const head = `${headOf("large")}  arguments: { parameters: [{ name: text`;
    const rest = ` }] }\n  templates: [{ name: main, wasm: { module: ${act} } }]\n`;
    const small = file("large.yaml", `${head}${rest}`);
    refused(["run", small, "-f", file("p.yaml", `text: ${large}`)], /error\[.*\].*100000006/);
    refused(
      ["run", file("document.yaml", `${head}, value: ${large}${rest}`)],
      /error\[.*\].*ceiling/,
    );
  });

  test("a file without an end", (context) => {
    if (!existsSync("/dev/zero")) return context.skip("no /dev/zero here: this is NOT tested");
    refused(["lint", "/dev/zero"], /error\[invalid-argument\].*"\/dev\/zero" has more than/);
  });

  test("aliases that unfold to billions", () => {
    const lines = Array.from({ length: 9 }, (_, at) => {
      const item = at === 0 ? "x" : `*a${at - 1}`;
      return `a${at}: &a${at} [${Array(9).fill(item).join(", ")}]`;
    });
    refused(["run", file("bomb.yaml", `${lines.join("\n")}\n`)], /error\[workflow-invalid\]/);
  });

  test("templates in a circle", () => {
    const text = `${headOf("circle")}  templates:
    - { name: main, steps: [[{ name: again, template: main }]] }
`;
    refused(["run", file("circle.yaml", text)], /error\[workflow-invalid\].*main/);
  });

  test("a journal of a newer format, and one that is none, stay as they are", () => {
    const newer = new Home();
    after(() => newer[Symbol.dispose]());
    newer.environment["ATALANTA_HOME"] = join(newer.folder, "data");
    assert.equal(newer.run(["run", "examples/first/workflow.yaml", "--quiet"]).status, 0);
    const path = join(newer.folder, "data/journal.db");
    const database = new DatabaseSync(path);
    database.exec("PRAGMA user_version = 999");
    database.close();
    assert.match(newer.run(["list"]).stderr, /error\[journal-format\].*999/);
    const garbage = join(newer.folder, "garbage");
    mkdirSync(garbage);
    writeFileSync(join(garbage, "journal.db"), "this is no database, whatever it is");
    newer.environment["ATALANTA_HOME"] = garbage;
    const { status, stderr } = newer.run(["run", "examples/first/workflow.yaml"]);
    assert.equal(status, 2);
    assert.match(stderr, /error\[journal-format\]/);
    assert.match(readFileSync(join(garbage, "journal.db"), "utf8"), /^this is no database/);
  });

  function refused(args: readonly string[], wanted: RegExp): void {
    const { status, stderr } = home.run(args);
    assert.equal(status, 2, stderr.slice(0, 500));
    assert.match(stderr, wanted);
    assert.match(stderr, /hint: /);
  }
});

test("output that cannot be written is an error with a code, not a stack trace", (context) => {
  if (!existsSync("/dev/full")) return context.skip("no /dev/full here: this is NOT tested");
  const out = openSync("/dev/full", "w");
  const words = [join(root, "src/cli/main.ts"), "version"];
  const { status, stderr } = spawnSync(process.execPath, words, {
    encoding: "utf8",
    stdio: ["ignore", out, "pipe"],
    env: home.env(),
  });
  closeSync(out);
  assert.equal(status, 1);
  assert.match(stderr, /^error\[storage\].*\n {2}hint: .*\n$/);
});

test("a data folder that is a file is refused", () => {
  const other = new Home();
  after(() => other[Symbol.dispose]());
  other.environment["ATALANTA_HOME"] = file("a-file", "");
  const { status, stderr } = other.run(["run", "examples/first/workflow.yaml"]);
  assert.equal(status, 1);
  assert.match(stderr, /error\[storage\]/);
});

test("a disk that fills up in the middle of a run loses nothing, and resume goes on", (context) => {
  const full = new Home();
  const disk = join(full.folder, "disk");
  mkdirSync(disk);
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", disk]);
  if (mounted.status !== 0) return context.skip("not root on Linux: a full disk is NOT tested");
  try {
    full.environment["ATALANTA_HOME"] = disk;
    const run = full.run([
      "run",
      "examples/letterflow/workflow.yaml",
      "-a",
      `doc=${letter}`,
      "--name",
      "full",
      "--quiet",
    ]);
    assert.equal(run.status, 1);
    assert.match(run.stderr, /error\[storage\].*\n.*atalanta resume full/);
    assert.equal(spawnSync("mount", ["-o", "remount,size=200m", disk]).status, 0);
    const resumed = full.run(["resume", "full", "--quiet"]);
    assert.equal(resumed.status, 0, resumed.stderr);
    assert.match(full.run(["get", "full"]).stdout, /Succeeded/);
  } finally {
    spawnSync("umount", [disk]);
    full[Symbol.dispose]();
  }
});

test("the outputs of a run can be written later", () => {
  assert.equal(
    home.run([
      "run",
      "examples/words/workflow.yaml",
      "-a",
      "doc=LICENSE",
      "--quiet",
      "--name",
      "later",
    ]).status,
    0,
  );
  const out = join(home.folder, "later-out");
  const { status, stderr } = home.run(["get", "later", "--output-dir", out]);
  assert.equal(status, 0, stderr);
  assert.match(readFileSync(join(out, "report.html"), "utf8"), /^<!doctype html>/);
});

test("a data or output folder where no folder can be made is an error at once", () => {
  const main = join(root, "src/cli/main.ts");
  const first = ["run", "examples/first/workflow.yaml"];
  for (const [environment, args] of [
    [{ ATALANTA_HOME: "/proc/none/of/it" }, first],
    [{}, [...first, "--output-dir", "/proc/none/of/it"]],
  ] as const) {
    const { status, stderr } = spawnSync(process.execPath, [main, ...args], {
      cwd: root,
      encoding: "utf8",
      env: { ...home.env(), ...environment },
      timeout: 30_000,
      killSignal: "SIGKILL",
    });
    assert.match(stderr, /\/proc\/none/);
    assert.notEqual(status, null);
  }
});
