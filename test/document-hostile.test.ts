import assert from "node:assert/strict";
import { performance } from "node:perf_hooks";
import { describe, test } from "node:test";
import {
  parameterBytes,
  parseParameterFile,
  readBundle,
  type Reading,
} from "../src/document/mod.ts";
import { Failure } from "../src/errors/mod.ts";

const head = `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: { name: hostile }
spec:
  entrypoint: main
`;
const leaf = "  templates: [{ name: main, suspend: {} }]\n";

function read(text: string): Reading {
  return readBundle([{ file: "w.yaml", text }]);
}

function only({ problems, bundle }: Reading): string {
  assert.equal(bundle, undefined);
  assert.equal(problems.length, 1, problems.map(({ message }) => message).join("\n"));
  const [{ message, place } = new Failure("internal", "none")] = problems;
  return `${place?.line}:${place?.column}: ${message}`;
}

/** Runs in so many milliseconds; generous, as other tests run beside it: what is meant are hours. */
function within<T>(limitMs: number, run: () => T): T {
  const start = performance.now();
  const result = run();
  const took = performance.now() - start;
  assert(took < limitMs, `took ${Math.round(took)} ms, more than ${limitMs}`);
  return result;
}

describe("texts that are made to break the reader", () => {
  test("aliases that unfold to billions of values are an error", () => {
    const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
    for (let level = 1; level < 20; level++) {
      const inner = Array.from({ length: 10 }, () => `*a${level - 1}`).join(", ");
      lines.push(`a${level}: &a${level} [${inner}]`);
    }
    const reading = within(5000, () => read(`${head}${leaf}${lines.join("\n")}\n`));
    assert.match(only(reading), /^\d+:\d+: The aliases unfold to more than 10485760 characters$/);
  });

  test("aliases that unfold to a deep document are an error", () => {
    const lines = ["a0: &a0 [x]"];
    for (let level = 1; level < 30; level++) {
      lines.push(`a${level}: &a${level} ${"[".repeat(10)}*a${level - 1}${"]".repeat(10)}`);
    }
    assert.match(only(read(`${lines.join("\n")}\n`)), /deeper than 200 levels by its aliases$/);
  });

  for (const [name, opening] of [
    ["lists in brackets", "["],
    ["mappings in braces", "{a: "],
    ["lists of dashes", "- "],
    ["keys of keys", "? "],
  ] as const) {
    test(`100,000 ${name} in each other are an error, not a full stack`, () => {
      const reading = within(30_000, () => read(opening.repeat(100_000)));
      assert.match(only(reading), /^1:\d+: The document is nested deeper than 200 levels$/);
    });
  }

  test("200 levels are read, 201 are not", () => {
    const nested = (depth: number): string =>
      `${head}${leaf}x: ${"[".repeat(depth)}${"]".repeat(depth)}\n`;
    assert.match(only(read(nested(199))), /Unknown key "x"/);
    assert.match(only(read(nested(200))), /deeper than 200 levels/);
  });

  test("a file has 10 MiB of characters at most", () => {
    const text = `${head}${leaf}#`;
    const most = 10 * 1024 * 1024;
    assert.deepEqual(read(text + "x".repeat(most - text.length)).problems, []);
    assert.match(
      only(read(text + "x".repeat(most - text.length + 1))),
      /^1:1: The file has 10485761 characters; the ceiling is 10485760$/,
    );
  });

  test("a parameter of 100 MB is an error, in the file and in a parameter file", () => {
    const large = "x".repeat(100_000_000);
    assert.match(
      only(read(`${head}  arguments: { parameters: [{ name: a, value: ${large} }] }\n${leaf}`)),
      /the ceiling is 10485760$/,
    );
    assert.throws(() => parseParameterFile(`a: ${large}`), /the ceiling is 10485760$/);
  });

  test("a parameter has as many bytes as its ceiling, and no more", () => {
    const sized = (bytes: number): string =>
      `${head}  arguments: { parameters: [{ name: a, value: ${"x".repeat(bytes)} }] }\n${leaf}`;
    assert.deepEqual(read(sized(parameterBytes)).problems, []);
    assert.equal(
      only(read(sized(parameterBytes + 1))),
      `6:47: The parameter "a" has ${parameterBytes + 1} bytes; the ceiling is ${parameterBytes}`,
    );
  });

  test("what is no text is an error with the place of the first such byte", () => {
    assert.equal(
      only(read("\0asm\u0001\0\0\0")),
      "1:1: The file is no text: it has a byte 0 in it",
    );
    assert.equal(only(read(`${head}\u0007`)), "6:1: The file is no text: it has a byte 7 in it");
    assert.equal(
      only(read(Buffer.from([0x61, 0x3a, 0x20, 0xff]).toString("utf8"))),
      "1:4: The file is not UTF-8",
    );
  });

  test("an empty file, blanks and a byte order mark", () => {
    assert.equal(only(read("")), '1:1: "w.yaml" holds nothing');
    assert.equal(only(read(" \n\n---\n")), '1:1: "w.yaml" holds nothing');
    assert.deepEqual(read(`\ufeff${head}${leaf}`).problems, []);
  });

  test("__proto__ is a label like any other, and changes no object", () => {
    const { bundle, problems } = read(
      `${head.replace("{ name: hostile }", "{ name: hostile, labels: { __proto__: a, constructor: b, 1: c } }")}${leaf}`,
    );
    assert.deepEqual(problems, []);
    const labels = bundle?.workflow.metadata.labels ?? {};
    assert.equal(Object.getPrototypeOf(labels), null);
    assert.deepEqual(
      Object.entries(labels).toSorted(([left], [right]) => (left < right ? -1 : 1)),
      [
        ["1", "c"],
        ["__proto__", "a"],
        ["constructor", "b"],
      ],
    );
    assert.equal(JSON.parse(JSON.stringify(bundle)).workflow.metadata.labels.constructor, "b");
  });

  test("100,000 mistakes are told in part, and soon", () => {
    const keys = Array.from({ length: 100_000 }, (_, index) => `  nonesuch${index}: 1`).join("\n");
    const { problems } = within(30_000, () => read(`${head}${keys}\n${leaf}`));
    assert.equal(problems.length, 2001);
    assert.equal(
      problems.at(-1)?.message,
      "There are 98000 more mistakes than the 2000 that are listed",
    );
  });

  test("100,000 names that nothing is known as are told in part, and soon", () => {
    const tags = Array.from(
      { length: 100_000 },
      (_, index) => `{{inputs.parameters.n${index}}}`,
    ).join(" ");
    const { problems } = within(30_000, () =>
      read(
        `${head}  templates:\n    - name: main\n      inputs: { parameters: [{ name: n, value: 1 }] }\n      wasm: { image: a, stdin: "${tags}" }\n`,
      ),
    );
    assert.equal(problems.length, 2001);
  });
});

describe("large workflows", () => {
  const task = (name: string, rest: string): string =>
    `          - { name: ${name}, template: leaf, ${rest} }\n`;
  const dag = (tasks: string): string =>
    `${head}  templates:\n    - name: main\n      dag:\n        tasks:\n${tasks}    - { name: leaf, inputs: { parameters: [{ name: x }] }, wasm: { image: a } }\n`;

  test("a chain of 5,000 tasks, each of which names the first, is read in linear time", () => {
    const chain = (count: number): string => {
      const given = (name: string): string =>
        `arguments: { parameters: [{ name: x, value: "${name}" }] }`;
      let tasks = task("t0", given("a"));
      for (let index = 1; index < count; index++) {
        tasks += task(
          `t${index}`,
          `depends: t${index - 1}.Succeeded, ${given(`{{tasks.t0.outputs.result}} {{tasks.t${index >> 1}.outputs.result}}`)}`,
        );
      }
      return dag(tasks);
    };
    const [small, large] = [chain(1250), chain(5000)];
    read(small); // compiled
    const time = (text: string): number => {
      const start = performance.now();
      assert.deepEqual(read(text).problems, []);
      return performance.now() - start;
    };
    const before = Math.min(time(small), time(small));
    const after = Math.min(time(large), time(large));
    assert(after < 10_000, `5,000 tasks took ${Math.round(after)} ms`);
    assert(
      after < before * 12,
      `four times the tasks took ${(after / before).toFixed(1)} times as long`,
    );
  });

  test("circles of thousands of tasks and templates are told once each", () => {
    const given = "arguments: { parameters: [{ name: x, value: 1 }] }";
    let tasks = "";
    for (let index = 0; index < 5000; index++)
      tasks += task(`t${index}`, `dependencies: [t${(index + 1) % 5000}], ${given}`);
    const circle = within(10_000, () => read(dag(tasks)));
    assert.match(only(circle), /^10:13: Task "t0" waits for itself: t0 → t1 → .* → t4999 → t0$/);

    let templates = "";
    for (let index = 0; index < 5000; index++)
      templates += `    - { name: t${index}, steps: [[{ name: a, template: t${(index + 1) % 5000} }]] }\n`;
    const endless = within(10_000, () =>
      read(`${head.replace("main", "t0")}  templates:\n${templates}`),
    );
    assert.match(only(endless), /^7:7: Template "t0" leads back to itself: t0 → /);
  });
});

describe("parseParameterFile", () => {
  test("reads YAML and JSON as Argo does: texts are themselves, everything else is JSON", () => {
    const expected = [
      ["a", "text"],
      ["b", "1"],
      ["c", "true"],
      ["d", '["x",1]'],
      ["e", '{"k":null}'],
      ["f", "null"],
      ["__proto__", "g"],
    ];
    const yaml = "a: text\nb: 1\nc: true\nd: [x, 1]\ne: { k: null }\nf:\n__proto__: g\n";
    const json = '{"a":"text","b":1,"c":true,"d":["x",1],"e":{"k":null},"f":null,"__proto__":"g"}';
    assert.deepEqual(Object.entries(parseParameterFile(yaml)), expected);
    assert.deepEqual(Object.entries(parseParameterFile(json)), expected);
    assert.deepEqual(Object.entries(parseParameterFile("")), []);
  });

  test("a mistake has its place", () => {
    const fails = (text: string): unknown => {
      try {
        return parseParameterFile(text, "p.yaml");
      } catch (thrown) {
        return thrown instanceof Failure ? [thrown.code, thrown.message, thrown.place] : thrown;
      }
    };
    assert.deepEqual(fails("- a"), [
      "invalid-argument",
      '"p.yaml" is no single mapping',
      { file: "p.yaml", line: 1, column: 1 },
    ]);
    assert.deepEqual(fails("a: 1\na: 2"), [
      "workflow-invalid",
      'The key "a" is there twice',
      { file: "p.yaml", line: 2, column: 1 },
    ]);
    assert.deepEqual(fails("a: 1\n---\nb: 2"), [
      "invalid-argument",
      '"p.yaml" is no single mapping',
      { file: "p.yaml", line: 3, column: 1 },
    ]);
    assert.deepEqual(fails(`b: 1\na: ${"x".repeat(parameterBytes + 1)}`), [
      "invalid-argument",
      `The parameter "a" has ${parameterBytes + 1} bytes; the ceiling is ${parameterBytes}`,
      { file: "p.yaml", line: 2, column: 1 },
    ]);
  });
});
