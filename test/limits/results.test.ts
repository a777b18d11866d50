import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Home, jsonLines, root } from "../cli/command.ts";
import { growing, moduleOf } from "./module.ts";

/** What a user sees of ceilings and usage, at the command line. */
const home = new Home();
after(() => home[Symbol.dispose]());
const call = join(root, "test/guests/call/call.wasm");

let count = 0;
/** A workflow of one step; `stdin` is a script for `test/guests/call/call.c`. */
function workflow(step: {
  readonly module?: string;
  readonly command?: readonly string[];
  readonly stdin?: string;
  readonly limits?: Readonly<Record<string, string | number>>;
}): string {
  const file = join(home.folder, `w${++count}.yaml`);
  const { module = call, ...wasm } = step;
  const template = { name: "main", wasm: { module, ...wasm } };
  writeFileSync(
    file,
    JSON.stringify({
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Workflow",
      metadata: { name: `limits-${count}` },
      spec: { entrypoint: "main", templates: [template] },
    }),
  );
  return file;
}

/** A module file of the home folder. */
function module(name: string, bytes: Uint8Array): string {
  const file = join(home.folder, `${name}.wasm`);
  writeFileSync(file, bytes);
  return file;
}

const hex = (text: string): string => Buffer.from(text).toString("hex");
/** Makes folders, then ends with exit code 64, as for a call that it does not know. */
const folders = (names: number, end = ""): string =>
  Array.from({ length: names }, (_, at) => [
    `set 0 ${hex(`f${at}`)}`,
    "call path_create_directory 3 @0 2",
  ])
    .flat()
    .concat(end)
    .join("\n");

interface NodeEvent {
  readonly type: string;
  readonly phase: string;
  readonly message?: string;
  readonly failure?: { readonly code: string; readonly hint: string };
  readonly usage?: Readonly<Record<string, number>>;
  readonly limitsReached?: readonly Readonly<Record<string, string>>[];
}

/** The last event of the one step. */
function lastNode(stdout: string): NodeEvent {
  const found = jsonLines(stdout).findLast(({ type }) => type === "node");
  assert.ok(found, stdout);
  return found as unknown as NodeEvent;
}

describe("who asks for more than the host allows is refused before anything begins", () => {
  const file = workflow({ limits: { memory: "1Gi" } });
  const config = join(home.folder, "operator.yaml");
  writeFileSync(config, "limits: { memory: 512Mi }\n");
  const message = "The step asks for limits.memory of 1Gi; this host allows 512Mi";

  for (const command of ["lint", "plan", "run"]) {
    test(`by ${command}, with --limit and with the operator's configuration`, () => {
      for (const how of [
        ["--limit", "memory=512Mi"],
        ["--config", config],
      ]) {
        const { status, stderr } = home.run([command, file, "--json", ...how]);
        assert.equal(status, 2);
        const [problem] = jsonLines(stderr);
        assert.equal(problem?.["code"], "limit-above-host");
        assert.equal(problem["message"], message);
        assert.match(String(problem["hint"]), /raise limits\.memory in the file for --config/);
        assert.equal((problem["place"] as { line: number }).line, 1);
      }
      const allowed = [command, file, "--limit", "memory=1Gi", "--config", config];
      assert.equal(home.run(allowed).status, 0);
    });
  }

  test("by the run, for a value that is only known then", () => {
    const late = workflow({ limits: { memory: "{{workflow.labels.size}}" } });
    const text = JSON.stringify({
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Workflow",
      metadata: { name: "late", labels: { size: "1Gi" } },
      spec: {
        entrypoint: "main",
        templates: [
          {
            name: "main",
            wasm: { module: call, limits: { memory: "{{workflow.labels.size}}" } },
          },
        ],
      },
    });
    writeFileSync(late, text);
    const { status, stdout } = home.run(["run", late, "--json", "--limit", "memory=512Mi"]);
    assert.equal(status, 1);
    const { phase, failure, usage } = lastNode(stdout);
    assert.equal(phase, "Error");
    assert.equal(failure?.code, "limit-above-host");
    assert.equal(usage, undefined, "it ran");
    assert.equal(home.run(["run", late, "--limit", "memory=1Gi", "--name", "late-too"]).status, 0);
  });

  test("limits of a file that lies beside the workflow do not count, and are not passed over", () => {
    writeFileSync(join(home.folder, "atalanta.yaml"), "limits: { memory: 4Gi }\n");
    try {
      const { status, stderr } = home.run(["run", file]);
      assert.equal(status, 2);
      assert.match(stderr, /"limits" of ".*" counts only when you say that the file is yours/);
    } finally {
      writeFileSync(join(home.folder, "atalanta.yaml"), "");
    }
  });

  test("what the operator or the command says wrongly is told with its place", () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      [
        "limits: { memory: 5Gi }",
        /operator\.yaml:1:19: .*limits\.memory is 5Gi; the highest value is 4Gi/,
      ],
      ["limits: { time: soon }", /operator\.yaml:1:17: .*limits\.time: "soon" is not a duration/],
      ["limits: { memry: 1Gi }", /operator\.yaml:1:11: .*Unknown key "memry" in limits/],
      ["limits: { memory: [1] }", /limits\.memory is no value/],
      ["limits: { memory: unlimited }", /limits\.memory: "unlimited" is not a size/],
      ["limits: 3", /limits is no mapping/],
    ];
    const wrong = join(home.folder, "operator.yaml");
    for (const [text, expected] of cases) {
      writeFileSync(wrong, text);
      const { status, stderr } = home.run(["lint", file, "--config", wrong]);
      assert.equal(status, 2, text);
      assert.match(stderr, expected);
    }
    const words: readonly (readonly [string, RegExp])[] = [
      ["memry=1", /--limit "memry=1": there is no limit "memry"/],
      ["memory", /--limit "memory" has no value\n.*--limit NAME=VALUE/],
      ["memory=unlimited", /--limit memory: "unlimited" is not a size/],
      ["memory=5Gi", /--limit memory is 5Gi; the highest value is 4Gi/],
      ["time=0s", /--limit time: "0s" is no duration above zero/],
      ["stack=1Ki", /--limit stack is 1Ki; the lowest value is 512Ki/],
    ];
    for (const [word, expected] of words) {
      const { status, stderr } = home.run(["lint", file, "--limit", word]);
      assert.equal(status, 2, word);
      assert.match(stderr, expected);
    }
  });
});

describe("a step that fails after it ran into a ceiling says which key to raise", () => {
  test("in its message, in its events and in the report", () => {
    // The last line calls what there is not, so the guest ends with exit code 64.
    const file = workflow({ stdin: folders(3, "call nothing"), limits: { fileCount: 2 } });
    const { status, stdout } = home.run(["run", file, "--json"]);
    assert.equal(status, 1);
    const node = lastNode(stdout);
    assert.equal(node.message, "Error (exit code 64); it had reached limits.fileCount of 2");
    assert.deepEqual(node.limitsReached, [
      {
        code: "limit-file-count",
        message:
          "The guest got an error at limits.fileCount (files, folders and links that the guest creates); the ceiling is 2",
        retryable: false,
        hint: "Raise limits.fileCount of the step, or of exec with --limit fileCount=VALUE.",
      },
    ]);
    const again = home.run(["run", file, "--name", "again"]);
    assert.match(
      again.stderr,
      /limit: The guest got an error at limits\.fileCount .* Raise limits\.fileCount/,
    );
    const argo = JSON.parse(home.run(["get", "again", "-o", "json"]).stdout) as {
      status: { nodes: Record<string, { limitsReached?: readonly { code: string }[] }> };
    };
    const [only] = Object.values(argo.status.nodes);
    assert.equal(only?.limitsReached?.[0]?.code, "limit-file-count");
  });

  test("and one that copes with it succeeds, with the ceiling in its result", () => {
    const file = workflow({ stdin: folders(3), limits: { fileCount: 2 } });
    const { status, stdout } = home.run(["run", file, "--json"]);
    assert.equal(status, 0);
    const node = lastNode(stdout);
    assert.equal(node.message, undefined);
    assert.equal(node.limitsReached?.length, 1);
  });

  test("and one that stays below has nothing of it", () => {
    const file = workflow({ stdin: folders(2, "call nothing"), limits: { fileCount: 2 } });
    const node = lastNode(home.run(["run", file, "--json"]).stdout);
    assert.equal(node.message, "Error (exit code 64)");
    assert.equal(node.limitsReached, undefined);
  });

  test("also when it was memory, of which a guest only says that it trapped", () => {
    const page = 65_536;
    const large = module("large", moduleOf({ pages: 3, body: growing(2) }));
    const full = workflow({ module: large, limits: { memory: 4 * page } });
    const node = lastNode(home.run(["run", full, "--json"]).stdout);
    assert.match(
      node.message ?? "",
      /^Trap: unreachable.*; its memory stood at 192Ki of limits\.memory 256Ki$/,
    );
    const roomy = workflow({ module: large, limits: { memory: 5 * page } });
    assert.equal(lastNode(home.run(["run", roomy, "--json"]).stdout).phase, "Succeeded");
  });

  test("and exec says it on stderr", () => {
    const input = join(home.folder, "script");
    writeFileSync(input, folders(3, "call nothing"));
    const command = ["exec", call, "--dir", `${home.folder}:/d`, "--stdin", input];
    const { status, stderr } = home.run([...command, "--limit", "fileCount=2"]);
    assert.equal(status, 64);
    assert.match(
      stderr,
      /^note: The guest got an error at limits\.fileCount .*--limit fileCount=VALUE\.$/m,
    );
  });
});

describe("lines of the log above the ceiling are left out and counted", () => {
  /** Prints so many lines of one digit. */
  const printing = (lines: number): string =>
    Array.from({ length: lines }, () => "call sched_yield 0").join("\n");
  const logOf = (name: string): string => home.run(["logs", name]).stdout;

  test("just below it the log is whole", () => {
    const file = workflow({ stdin: printing(500), limits: { logLines: 500 } });
    const { status, stdout } = home.run(["run", file, "--json", "--name", "quiet"]);
    assert.equal(status, 0);
    assert.equal(lastNode(stdout).limitsReached, undefined);
    assert.equal(logOf("quiet").match(/0$/gm)?.length, 500);
  });

  test("above it the first ones stay and of the rest there is a count; the step is not ended for it", () => {
    const file = workflow({ stdin: printing(5000), limits: { logLines: 100 } });
    const { status, stdout } = home.run(["run", file, "--json", "--name", "loud"]);
    assert.equal(status, 0);
    assert.equal(lastNode(stdout).limitsReached?.[0]?.["code"], "limit-log-lines");
    const log = logOf("loud");
    const [, left = "0"] =
      /\[atalanta\] (\d+) lines left out: more than 100 in one second \(limits\.logLines\)/.exec(
        log,
      ) ?? [];
    const told = [...log.matchAll(/\[atalanta\] (\d+) lines? left out/g)].reduce(
      (sum, [, number]) => sum + Number(number),
      0,
    );
    assert.ok(Number(left) > 0, log.slice(-300));
    const kept = log.match(/0$/gm)?.length ?? 0;
    assert.ok(kept >= 100 && kept < 5000, String(kept));
    assert.equal(kept + told, 5000);
  });
});

describe("usage", () => {
  const file = workflow({ stdin: folders(3) });
  home.run(["run", file, "--quiet", "--name", "used"]);

  test("is in the events of the node and of the run", () => {
    const { stdout } = home.run(["run", file, "--json"]);
    const { usage } = lastNode(stdout);
    assert.ok(usage);
    const { cpuMs, wallMs, memoryBytes, filesCreated, filesBytesWritten } = usage;
    assert.ok(cpuMs !== undefined && cpuMs > 0 && wallMs !== undefined && wallMs > 0);
    assert.ok(cpuMs < wallMs + 50, `${cpuMs} of ${wallMs}`);
    assert.ok(memoryBytes !== undefined && memoryBytes % 65_536 === 0 && memoryBytes > 0);
    assert.equal(filesCreated, 3);
    assert.equal(filesBytesWritten, 0);
    const end = jsonLines(stdout).findLast(({ type }) => type === "run-finished");
    assert.deepEqual(end?.["usage"], usage);
  });

  test("is shown by get as a sum, by -o wide for each node, and by -o json", () => {
    assert.match(
      home.run(["get", "used"]).stdout,
      /^Usage: +.* CPU, .* wall, .* memory, 3 files$/m,
    );
    assert.match(home.run(["get", "used", "-o", "wide"]).stdout, /USAGE.*\n.* CPU, .*3 files/);
    const { status } = JSON.parse(home.run(["get", "used", "-o", "json"]).stdout) as {
      status: { usage: { filesCreated: number }; nodes: Record<string, { usage?: object }> };
    };
    assert.equal(status.usage.filesCreated, 3);
    assert.ok(Object.values(status.nodes)[0]?.usage);
  });

  test("a run says at its end what it used", () => {
    const { stdout } = home.run(["run", file, "--name", "said"]);
    assert.match(stdout, /^used {2}.* CPU, .* wall, .* memory, 3 files$/m);
  });

  test("what is not known of a module that was ended from outside is not said to be nothing", () => {
    const endless = join(root, "test/guests/probe/probe.wasm");
    const loop = workflow({ module: endless, command: ["loop"], limits: { time: "300ms" } });
    const { stdout } = home.run(["run", loop]);
    assert.match(stdout, /^used {2}(.+ CPU, )?\S+ m?s wall$/m);
    assert.doesNotMatch(stdout, /\b0 (ms CPU|B memory)/);
  });
});
