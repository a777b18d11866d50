import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import { openArtifactStore } from "../src/artifacts/mod.ts";
import { createRunners, type Trust } from "../src/runner/mod.ts";
import { createTaskRunner, type MapProgram, type Task, type TaskResult } from "../src/task/mod.ts";
import { Home } from "./cli/command.ts";

const act = resolve(import.meta.dirname, "guests/act/act.wasm");
const folder = mkdtempSync(join(tmpdir(), "atalanta-map-"));
const artifacts = await openArtifactStore({ folder: join(folder, "artifacts") });
const runner = createTaskRunner({
  runners: createRunners({ threads: 2, stagingFolder: await artifacts.stagingFolder() }),
  artifacts,
});
const home = new Home();
after(async () => {
  await runner[Symbol.asyncDispose]();
  home[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

interface Asked {
  readonly trust?: Trust;
  readonly list?: string;
  readonly stdin?: string;
  readonly timeoutMs?: number;
  readonly limits?: Record<string, string>;
  readonly outputs?: Partial<Task["outputs"]>;
  readonly signal?: AbortSignal;
}

async function mapped(
  words: readonly string[],
  map: MapProgram,
  { trust, list, stdin, timeoutMs, limits = {}, outputs = {}, signal }: Asked = {},
): Promise<TaskResult> {
  const source = list === undefined ? undefined : ({ kind: "raw", data: list } as const);
  return runner.run(
    {
      key: "map",
      program: {
        kind: "wasm",
        module: { path: act },
        arguments: words,
        limits,
        map,
        ...(trust ? { trust } : {}),
      },
      environment: [{ name: "GREETING", value: "hello $(item)" }],
      ...(stdin === undefined ? {} : { stdin }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      inputs: source ? [{ name: "list", path: "/in/list", source }] : [],
      outputs: { parameters: [], artifacts: [], result: true, ...outputs },
    },
    signal ? { signal } : {},
  );
}

async function listOf(...asked: Parameters<typeof mapped>): Promise<unknown> {
  const result = await mapped(...asked);
  assert.equal(result.phase, "Succeeded", JSON.stringify(result));
  return JSON.parse(result.outputs.result ?? "");
}

async function textOf(artifact: Parameters<typeof artifacts.read>[0] | undefined): Promise<string> {
  assert(artifact);
  return Buffer.from(await artifacts.read(artifact)).toString();
}

describe("a map: one step that runs a module for each item of a list", () => {
  test("gives the results in the order of the items: JSON as it is, other text as text", async () => {
    const items = ["a", "b c", '"', 7, null, true, { x: 1 }, [2]];
    assert.deepEqual(await listOf(["echo", "$(item)"], { items }), items);
    assert.deepEqual(await listOf(["echo", "$(index)"], { items: '["x", "y"]' }), [0, 1]);
    assert.deepEqual(await listOf(["echo", "x"], { items: [] }), []);
  });

  test("fills in parts of an item, variables and stdin, and leaves what is escaped", async () => {
    const items = [{ name: "n", deep: { size: 3 } }];
    assert.deepEqual(
      await listOf(["echo", "$(item.name)-$(item.deep.size) $$(item) $(other)"], { items }),
      ["n-3 $(item) $(other)"],
    );
    assert.deepEqual(await listOf(["env", "GREETING"], { items: ["you"] }), ["hello you"]);
    assert.deepEqual(await listOf(["env", "ATALANTA_ITEM"], { items: [{ a: "b" }] }), [{ a: "b" }]);
    assert.deepEqual(await listOf(["env", "ATALANTA_ITEM_INDEX"], { items: ["x", "y"] }), [0, 1]);
    assert.deepEqual(await listOf(["stdin"], { items: ["you"] }, { stdin: "for $(item)" }), [
      "for you",
    ]);
    const missing = await mapped(["echo", "$(item.size)"], { items: [{ name: "n" }] });
    assert.equal(missing.phase, "Error");
    assert.match(missing.message ?? "", /Item 0 of 1 failed: Item 0 has no "size"/);
  });

  test("takes its items out of a file: a JSON list, or a JSON value a line; all items see the file", async () => {
    const map = { artifact: "list" };
    assert.deepEqual(await listOf(["echo", "$(item)"], map, { list: '["a", 1]' }), ["a", 1]);
    assert.deepEqual(await listOf(["echo", "$(item)"], map, { list: '"a"\n\n{"b":1}\n' }), [
      "a",
      { b: 1 },
    ]);
    assert.deepEqual(await listOf(["cat", "/in/list"], map, { list: "1\n2" }), ["1\n2", "1\n2"]);
    const wrong = await mapped(["echo"], map, { list: '"a"\nplain\n' });
    assert.equal(wrong.phase, "Error");
    assert.match(wrong.message ?? "", /Line 2 of the artifact "list" is no JSON: plain/);
  });

  for (const trust of ["thread", "process"] as const) {
    test(`10,000 items in the class ${trust} are one result, and a line for each in an artifact`, async () => {
      const result = await mapped(
        ["echo", "$(item)"],
        {
          items: Array.from({ length: 10_000 }, (_, index) => `item ${index}`),
          results: "all",
          parallelism: 16,
        },
        { trust, outputs: { artifacts: [{ name: "all", path: "/out/all", optional: false }] } },
      );
      assert.equal(result.phase, "Succeeded", JSON.stringify(result));
      const list = JSON.parse(result.outputs.result ?? "") as unknown[];
      assert.equal(list.length, 10_000);
      assert.equal(list[9999], "item 9999");
      const [all] = result.outputs.artifacts;
      const lines = (await textOf(all?.artifact)).trimEnd().split("\n");
      assert.equal(lines.length, 10_000);
      assert.deepEqual(JSON.parse(lines[17] ?? ""), {
        index: 17,
        phase: "Succeeded",
        result: "item 17",
      });
      assert.deepEqual(result.usage?.items, { count: 10_000, failed: 0 });
    });
  }

  test("results above the ceiling of a result stand in the artifact alone; without one the step says so", async () => {
    const items = Array.from({ length: 300 }, () => "x".repeat(1000));
    const result = await mapped(
      ["echo", "$(item)"],
      { items, results: "all" },
      { outputs: { artifacts: [{ name: "all", path: "/out/all", optional: false }] } },
    );
    assert.equal(result.phase, "Succeeded", JSON.stringify(result));
    assert.equal(result.outputs.result, undefined);
    assert((await textOf(result.outputs.artifacts[0]?.artifact)).length > 300_000);
    const refused = await mapped(["echo", "$(item)"], { items });
    assert.equal(refused.failure?.code, "output-too-large");
  });

  test("the first failure ends the others, and says which item it was", async () => {
    const begun = performance.now();
    const result = await mapped(
      ["unless", "$(item)", "bad", "0", ";", "error", "because", ";", "exit", "3"],
      { items: ["bad", ...Array.from({ length: 5000 }, () => "good")], parallelism: 2 },
    );
    assert.equal(result.phase, "Failed");
    assert.match(result.message ?? "", /^Item 0 of 5001 failed: Error \(exit code 3\)/);
    assert.equal(result.exitCode, 3);
    assert.equal(result.stderrTail, "[0] because");
    assert(performance.now() - begun < 5000);
    const trap = await mapped(["trap"], { items: [1] });
    assert.match(trap.message ?? "", /^Item 0 of 1 failed: Trap: unreachable/);
  });

  test("so many failures as are allowed leave a hole in the list, and one more ends it", async () => {
    const words = ["below", "$(index)", "2", "7", ";", "echo", "$(index)"];
    const items = ["a", "b", "c", "d"];
    const result = await mapped(
      words,
      { items, maxFailures: 2, results: "all" },
      { outputs: { artifacts: [{ name: "all", path: "/out/all", optional: false }] } },
    );
    assert.equal(result.phase, "Succeeded", JSON.stringify(result));
    assert.deepEqual(JSON.parse(result.outputs.result ?? ""), [null, null, 2, 3]);
    assert.deepEqual(result.usage?.items, { count: 4, failed: 2 });
    const [first = ""] = (await textOf(result.outputs.artifacts[0]?.artifact)).split("\n");
    assert.deepEqual(JSON.parse(first), {
      index: 0,
      phase: "Failed",
      exitCode: 7,
      message: "Error (exit code 7)",
    });
    const ended = await mapped(words, { items, maxFailures: 1 });
    assert.equal(ended.phase, "Failed");
    assert.match(ended.message ?? "", /of 4 failed, and 1 before it: Error \(exit code 7\)/);
  });

  test("the log has the lines of all items, each with its index, up to the ceiling of one program", async () => {
    const result = await mapped(["line", "one", ";", "echo", "two", ";", "error", "three"], {
      items: [1, 2],
    });
    const lines = (await textOf(result.log)).trimEnd().split("\n").toSorted();
    assert.deepEqual(lines, ["[0] one", "[0] three", "[0] two", "[1] one", "[1] three", "[1] two"]);
    const much = await mapped(
      ["line", "x".repeat(200)],
      { items: Array.from({ length: 100 }, () => 1) },
      { limits: { output: "4Ki" } },
    );
    const log = await textOf(much.log);
    assert.match(log, /rest of the log is left out/);
    assert(log.length < 5000, String(log.length));
    const long = await mapped(["list", "200000"], { items: [1] }, { outputs: { result: false } });
    const pieces = (await textOf(long.log)).trimEnd().split("\n");
    assert(
      pieces.length > 5 && pieces.every((line) => line.startsWith("[0] ") && line.length < 200_000),
    );
  });

  test("ends at its deadline and when it is called off", async () => {
    const items = Array.from({ length: 1000 }, () => 1);
    const late = await mapped(["sleep", "100"], { items, parallelism: 1 }, { timeoutMs: 350 });
    assert.equal(late.phase, "Failed");
    assert.equal(late.failure?.code, "limit-time", JSON.stringify(late));
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 200);
    const begun = performance.now();
    const gone = await mapped(
      ["sleep", "60000"],
      { items, parallelism: 4 },
      { signal: stop.signal },
    );
    assert.equal(gone.phase, "Error");
    assert(performance.now() - begun < 5000);
  });

  test("refuses lists that are none or too long, and outputs that items would write over each other", async () => {
    const message = async (...asked: Parameters<typeof mapped>): Promise<string> => {
      const result = await mapped(...asked);
      assert.equal(result.phase, "Error");
      return result.message ?? "";
    };
    assert.match(await message(["echo"], { items: "{}" }), /map\.items is no list/);
    assert.match(await message(["echo"], { items: "[1," }), /map\.items is no JSON: \[1,/);
    assert.match(
      await message(["echo"], { items: Array.from({ length: 100_001 }, () => 1) }),
      /100001 items; 100000 may be/,
    );
    assert.match(
      await message(["echo"], { artifact: "other" }),
      /"other" of map is none of the step's inputs/,
    );
    const outputs = { parameters: [{ name: "p", path: "/p" }] };
    assert.match(
      await message(["echo"], { items: [1] }, { outputs }),
      /"p" has one path, and a map has many items/,
    );
  });

  test("runs in workflows, with parameters as lists, and lint knows its mistakes", () => {
    mkdirSync(join(home.folder, "flow"));
    const file = join(home.folder, "flow", "map.yaml");
    const workflow = (map: string): string => `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: { name: pages }
spec:
  entrypoint: main
  templates:
    - name: main
      steps:
        - - name: count
            template: list
        - - name: each
            template: each
            arguments: { parameters: [{ name: pages, value: "{{steps.count.outputs.result}}" }] }
        - - name: all
            template: show
            arguments: { parameters: [{ name: text, value: "{{steps.each.outputs.result}}" }] }
    - name: list
      wasm: { module: ${act}, args: [list, "5"] }
    - name: each
      inputs: { parameters: [{ name: pages }] }
      wasm:
        module: ${act}
        args: [echo, page $(item)]
        map: ${map}
    - name: show
      inputs: { parameters: [{ name: text }] }
      wasm: { module: ${act}, args: [echo, "{{inputs.parameters.text}}"] }
`;
    writeFileSync(file, workflow('{ items: "{{inputs.parameters.pages}}", parallelism: 2 }'));
    const { status, stdout, stderr } = home.run(["run", file, "--json"]);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /\[\\"page 0\\",\\"page 1\\",\\"page 2\\",\\"page 3\\",\\"page 4\\"\]/);
    const wrong = (map: string): string => {
      writeFileSync(file, workflow(map));
      return home.run(["lint", file]).stderr;
    };
    assert.match(wrong("{}"), /map\.yaml:\d+:\d+: error.* map has neither items nor artifact/);
    assert.match(wrong("{ artifact: x }"), /There is no input artifact "x"/);
    assert.match(wrong("{ items: [1], results: x }"), /There is no output artifact "x"/);
    assert.match(wrong("{ items: [1], paralellism: 2 }"), /Did you mean "parallelism"/);
    assert.match(wrong("{ items: { a: 1 } }"), /map\.items is no list/);
  });
});
