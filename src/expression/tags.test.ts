import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { ExpressionFailure, references, substitute, type Scope } from "./mod.ts";

const options = { now: Date.UTC(2026, 7, 21), random: () => 0.5 };

function scopeOf(names: Readonly<Record<string, unknown>>): Scope {
  const known = new Map(Object.entries(names));
  return { get: (name) => known.get(name) };
}

const scope = scopeOf({
  "workflow.name": "hello",
  "workflow.parameters.n": "5",
  "inputs.parameters.my-name": "value",
  "inputs.parameters.one": "1st",
  "inputs.parameters.markup": "{{workflow.name}}",
  "inputs.parameters.lines": 'a "quoted"\nline',
  "steps.skipped.outputs.result": null,
  item: "one",
});

function failure(run: () => unknown): ExpressionFailure {
  try {
    run();
  } catch (error) {
    assert(error instanceof ExpressionFailure, String(error));
    return error;
  }
  throw new Error("nothing failed");
}

describe("substitute", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["no tag", "no tag"],
    ["{{workflow.name}}", "hello"],
    ["{{ workflow.name }}, {{workflow.name}}!", "hello, hello!"],
    ["{{inputs.parameters.my-name}}", "value"],
    ["{{inputs.parameters.{{item}}}}", "1st"],
    ["{{inputs.parameters.lines}}", 'a "quoted"\nline'],
    ['{"a":{"b":{{workflow.parameters.n}}}}', '{"a":{"b":5}}'],
    ["{{=workflow.name}}", "hello"],
    ["{{=inputs.parameters['my-name']}}", "value"],
    ["{{= asInt(workflow.parameters.n) * 10 }}", "50"],
    ["{{=1.5}} {{=true}} {{=2 ** 3}} {{=7 / 2}}", "1.5 true 8 3.5"],
    ["{{=[1, 'a', nil]}}", '[1,"a",null]'],
    ["{{={b: 1, a: '<x>'} }}", '{"a":"\\u003cx\\u003e","b":1}'],
    ["{{=steps.skipped.outputs.result ?? 'fallback'}}", "fallback"],
    ["{{=inputs.parameters.unknown ?? 'fallback'}}", "fallback"],
    ["{{=steps.skipped.outputs.result == ''}}", "false"],
  ];
  for (const [text, expected] of cases) {
    test(`${text} becomes ${JSON.stringify(expected)}`, () => {
      assert.equal(substitute(text, scope, options), expected);
    });
  }

  test("goes through plain data, keys too, and leaves everything else alone", () => {
    const data = {
      "{{workflow.name}}": ["{{item}}", 1, null, { deep: "{{=1 + 1}}" }],
      plain: true,
    };
    assert.deepEqual(substitute(data, scope, options), {
      hello: ["one", 1, null, { deep: "2" }],
      plain: true,
    });
  });

  test("never reads what was put in for tags", () => {
    assert.equal(substitute("{{inputs.parameters.markup}}", scope, options), "{{workflow.name}}");
    assert.equal(substitute("{{=inputs.parameters.markup}}", scope, options), "{{workflow.name}}");
  });

  test("fails with the place of a tag whose name is unknown", () => {
    const found = failure(() => substitute("a {{b.c}}", scope, options));
    assert.equal(found.problem, "missing");
    assert.equal(found.offset, 2);
    assert.equal(found.length, 7);
    assert.match(found.message, /Nothing is known as \{\{b\.c\}\} here \(1:3/u);
  });

  test("fails at the place inside an expression", () => {
    const found = failure(() => substitute("a {{= 1 + nope.x }}", scope, options));
    assert.equal(found.problem, "missing");
    assert.equal(found.offset, 10);
    const bad = failure(() => substitute("a {{=1 +}}", scope, options));
    assert.equal(bad.problem, "syntax");
  });

  test("fails for a name that has no value, and for an expression that has none", () => {
    for (const text of [
      "{{steps.skipped.outputs.result}}",
      "{{=steps.skipped.outputs.result}}",
      "{{=nil}}",
    ]) {
      assert.equal(failure(() => substitute(text, scope, options)).problem, "missing");
    }
  });

  test("keeps tags with unknown names for a later pass when asked to", () => {
    const keep = { ...options, unresolved: "keep" } as const;
    for (const [text, expected] of [
      ["{{x}} {{workflow.name}}", "{{x}} hello"],
      ["{{ x }}", "{{ x }}"],
      ["{{=x + 1}}", "{{=x + 1}}"],
      ["{{=x.y ?? 'd'}}", "{{=x.y ?? 'd'}}"],
      ["{{inputs.parameters.{{x}}}}", "{{inputs.parameters.{{x}}}}"],
      ["{{inputs.parameters.{{item}}.x}}", "{{inputs.parameters.{{item}}.x}}"],
    ] as const) {
      assert.equal(substitute(text, scope, keep), expected);
    }
    assert.equal(failure(() => substitute("{{=1 + 'a'}}", scope, keep)).problem, "value");
  });

  test("says how to write braces that meet", () => {
    const found = failure(() => substitute("{{={a: {b: 1}}}}", scope, options));
    assert.match(found.hint ?? "", /first \}\} ends the expression/u);
  });

  test("a tag without an end is a mistake", () => {
    const found = failure(() => substitute("a {{workflow.name", scope, options));
    assert.equal(found.problem, "syntax");
    assert.equal(found.offset, 2);
  });

  test("stops before a text grows without bound", () => {
    const large = scopeOf({ x: "y".repeat(1024 * 1024) });
    assert.equal(substitute("{{x}}".repeat(5), large, options).length, 5 * 1024 * 1024);
    const found = failure(() => substitute("{{x}}".repeat(40), large, options));
    assert.equal(found.problem, "ceiling");
    assert.equal(found.code, "limit-expression");
  });
});

describe("references", () => {
  test("names what tags and expressions mention, with the place of each", () => {
    const text =
      "{{ a.b }} {{=steps['my-step'].outputs.result + c ?? d.e}} {{inputs.parameters.{{item}}}}";
    const found = references(text);
    assert.deepEqual(
      found.map(({ name, optional }) => [name, optional]),
      [
        ["a.b", false],
        ["steps.my-step.outputs.result", false],
        ["c", true],
        ["d.e", false],
        ["item", false],
      ],
    );
    assert.deepEqual(
      found.map(({ offset, length }) => text.slice(offset, offset + length)),
      ["a.b", "steps['my-step'].outputs.result", "c", "d.e", "item"],
    );
  });

  test("leaves out variables, functions and predicates", () => {
    assert.deepEqual(
      references("{{=let x = a.b; sprig.trim(x) + toJson(map(c, {.d + #.e + f}))}}").map(
        ({ name }) => name,
      ),
      ["a.b", "c", "f"],
    );
  });

  test("throws a mistake with its offset in the whole text", () => {
    const found = failure(() => references("some {{=1 +* 2}}"));
    assert.equal(found.problem, "syntax");
    assert.equal(found.offset, 11);
  });
});
