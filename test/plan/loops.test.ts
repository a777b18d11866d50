import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Step } from "../../src/document/mod.ts";
import { bundleOf, Drive, leaf, say } from "./drive.ts";

function loop(more: Partial<Step>, value = "{{item}}"): Drive {
  const text = { arguments: { parameters: [{ name: "text", value }] } };
  const each: Step = { name: "each", template: "say", ...text, ...more };
  return new Drive(bundleOf([{ name: "main", steps: [[each]] }, say()]));
}

/** Names of the rounds and what each is given. */
function rounds(drive: Drive): Readonly<Record<string, unknown>> {
  return Object.fromEntries(drive.runs.map((name) => [name.slice(10), drive.said(name)]));
}

describe("loops", () => {
  test("go over scalars, lists and maps, and name their rounds as Argo does", () => {
    const items = ["a (b)", 1, true, { k: "v", a: { deep: 1 } }, [1, "x"]];
    assert.deepEqual(rounds(loop({ withItems: items })), {
      "(0:a b)": "a (b)",
      "(1:1)": "1",
      "(2:true)": "true",
      '(3:a:{"deep":1},k:v)': '{"a":{"deep":1},"k":"v"}',
      "(4:[1 x])": '[1,"x"]',
    });
  });

  test("know the fields of an item that is a map", () => {
    const drive = loop(
      { withItems: [{ n: 1, s: "x", l: [1] }] },
      "{{item.n}} {{item.s}} {{item.l}}",
    );
    assert.deepEqual(Object.values(rounds(drive)), ["1 x [1]"]);
  });

  test("keep every digit of a number out of JSON", () => {
    const drive = loop({ withParam: "[12345678901234567890, 1.50, 2]" });
    assert.deepEqual(Object.values(rounds(drive)), ["12345678901234567890", "1.50", "2"]);
  });

  test("count up, down and in a format", () => {
    const values = (withSequence: NonNullable<Step["withSequence"]>) =>
      Object.values(rounds(loop({ withSequence })));
    assert.deepEqual(values({ count: "3" }), ["0", "1", "2"]);
    assert.deepEqual(values({ start: 3, end: "1" }), ["3", "2", "1"]);
    assert.deepEqual(values({ start: 254, count: 2, format: "user%03X" }), ["user0FE", "user0FF"]);
  });

  test("over nothing are skipped", () => {
    for (const more of [{ withParam: "[]" }, { withSequence: { count: 0 } }]) {
      const drive = loop(more);
      assert.deepEqual(drive.tree, [
        "- Steps Succeeded",
        "[0] StepGroup Succeeded",
        "[0].each Skipped Skipped: Skipped, empty params",
      ]);
    }
  });

  test("with items that are none are an error of the group", () => {
    for (const [withParam, message] of [
      ["no list", /^withParam value could not be parsed as a JSON list: no list: /],
      ['{"a": 1}', /^withParam value could not be parsed as a JSON list: /],
      ["[1, null]", /^withItems\[1\] expected string, number, list, or map/],
    ] as const) {
      const { state } = loop({ withParam }).planner;
      assert.equal(state.phase, "Failed");
      assert.match(state.message ?? "", message);
    }
  });

  test("have at most 100,000 rounds", () => {
    const { state } = loop({ withSequence: { count: 100_001 } }).planner;
    assert.match(state.message ?? "", /has 100001 items/);
    assert.equal(state.nodes.get("wf")?.failure?.code, "limit-plan");
  });

  test("skip the rounds whose condition is not met", () => {
    const drive = loop({ withItems: [1, 2], when: "{{item}} > 1" });
    assert.deepEqual(drive.runs, ["wf[0].each(1:2)"]);
    const skipped = drive.node("wf[0].each(0:1)");
    assert.deepEqual(
      [skipped.type, skipped.phase, skipped.message, skipped.template],
      ["Skipped", "Skipped", "when '1 > 1' evaluated false", "say"],
    );
  });

  test("give lists in the order of their items, of the rounds that succeeded", () => {
    const outputs = { parameters: [{ name: "n", valueFrom: { path: "/n" } }] };
    const value =
      "{{steps.each.outputs.result}} {{steps.each.outputs.parameters}} {{steps.each.outputs.parameters.n}}";
    const steps: Step[][] = [
      [{ name: "each", template: "leaf", withItems: [0, 1, 2], continueOn: { failed: true } }],
      [{ name: "after", template: "say", arguments: { parameters: [{ name: "text", value }] } }],
    ];
    const bundle = bundleOf([{ name: "main", steps }, leaf("leaf", { outputs }), say()]);
    const drive = new Drive(bundle);
    drive.end("wf[0].each(2:2)", { result: "text", parameters: { n: "3" } });
    drive.end("wf[0].each(0:0)", { result: '{"a":1}', parameters: { n: "1" } });
    drive.end("wf[0].each(1:1)", { phase: "Failed", result: "gone", parameters: { n: "2" } });
    assert.equal(drive.said("wf[1].after"), '[{"a":1},"text"] [{"n":"1"},{"n":"3"}] ["1","3"]');
  });

  test("of which one fails make the group fail when all have ended", () => {
    const drive = loop({ withItems: [0, 1, 2] });
    drive.end("wf[0].each(2:2)", { phase: "Failed" });
    drive.end("wf[0].each(1:1)", { phase: "Failed" });
    assert.equal(drive.planner.state.phase, "Running");
    drive.end("wf[0].each(0:0)");
    const first = drive.node("wf[0].each(1:1)").id;
    assert.equal(drive.planner.state.message, `child '${first}' failed`);
  });

  test("of 100,000 rounds have ids that no two share", () => {
    const drive = loop({ withSequence: { count: 100_000 } });
    assert.equal(drive.planner.state.nodes.size, 100_002);
    assert.equal(new Set(drive.works.map((work) => work.node)).size, 100_000);
  });
});

describe("when", () => {
  test("leaves a step out, whose outputs are then its defaults", () => {
    const outputs = {
      parameters: [
        { name: "with", valueFrom: { path: "/a", default: "d" } },
        { name: "without", valueFrom: { path: "/b" } },
      ],
    };
    const after = (name: string, value: string): Step => ({
      name,
      template: "say",
      arguments: { parameters: [{ name: "text", value }] },
    });
    const steps: Step[][] = [
      [{ name: "a", template: "leaf", when: "heads == tails" }],
      [
        after("declared", "{{steps.a.outputs.parameters.with}}"),
        after("own", "{{steps.a.outputs.parameters.without}}"),
        after("fallback", "{{=steps.a.outputs.parameters.without ?? 'none'}}"),
        after("unhandled", "x{{steps.a.outputs.parameters.without}}"),
      ],
    ];
    const drive = new Drive(bundleOf([{ name: "main", steps }, leaf("leaf", { outputs }), say()]));
    assert.equal(drive.node("wf[0].a").message, "when 'heads == tails' evaluated false");
    assert.equal(drive.said("wf[1].declared"), "d");
    // The input has a default, which an argument that is nothing at all leaves in force.
    assert.equal(drive.said("wf[1].own"), "");
    assert.equal(drive.said("wf[1].fallback"), "none");
    assert.equal(drive.node("wf[1].unhandled").phase, "Error");
  });

  test("that is no condition is an error of its step", () => {
    const steps: Step[][] = [[{ name: "a", template: "leaf", when: "1 +" }]];
    const drive = new Drive(bundleOf([{ name: "main", steps }, leaf()]));
    assert.match(drive.node("wf[0].a").message ?? "", /^Invalid 'when' expression '1 \+'/);
    assert.equal(drive.planner.state.phase, "Failed");
  });
});
