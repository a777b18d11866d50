import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseAllDocuments } from "yaml";
import { rewriteText } from "../../src/argo/mod.ts";
import { listOf, recordOf } from "../../src/kubernetes/mod.ts";

/** The same numbers for the same seed (mulberry32). */
function drawn(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** A workflow as somebody may have written it: comments everywhere, any indentation, quotes, block scalars, anchors, ends of lines. */
function workflow(draw: (below: number) => number): string {
  const wide = " ".repeat(draw(2) === 0 ? 2 : 4);
  const inset = draw(2) === 0 ? "" : wide;
  let comments = 0;
  const comment = (): string => (draw(3) === 0 ? ` # c${(comments += 1)}` : "");
  const between = (indent: string): string =>
    draw(4) === 0 ? `${indent}# c${(comments += 1)} of its own\n` : draw(6) === 0 ? "\n" : "";
  const wasm = (at: string): string => {
    const key = ["wasm", "wasm", '"wasm"', "'wasm'"][draw(4)] ?? "wasm";
    if (draw(4) === 0)
      return `${at}${key}: {image: "a/b:${draw(9)}", args: [x, "y # no comment"]}${comment()}\n`;
    if (draw(6) === 0) return `${at}${key}: *shared${comment()}\n`;
    const inner = at + wide;
    const parts = [
      `${inner}image: a/b:${draw(9)}${comment()}\n`,
      `${inner}args:${comment()}\n${inner}- one${comment()}\n${between(inner)}${inner}- "two: three"\n`,
      `${inner}stdin: |${comment()}\n${inner}  # no comment\n\n${inner}    further in\n${inner}  end\n`,
      `${inner}env: [{name: A, value: "1"},\n${inner}  {name: B, value: b}]${comment()}\n`,
      `${inner}limits:\n${inner}${wide}memory: 64Mi${comment()}\n`,
    ];
    const [image = "", ...others] = parts;
    const chosen = [image, ...others.filter(() => draw(2) === 0)];
    return `${at}${key}:${comment()}\n${chosen.map((part) => between(inner) + part).join("")}`;
  };
  const template = (index: number): string => {
    const at = `${wide}${inset}  `;
    const body = draw(5) === 0 ? `${at}container: {image: alpine}${comment()}\n` : wasm(at);
    return `${between(at)}${wide}${inset}- name: t${index}${comment()}\n${body}`;
  };
  const templates = Array.from({ length: 1 + draw(5) }, (_, index) => template(index)).join("");
  const text = `# c0 before\napiVersion: argoproj.io/v1alpha1\nkind: Workflow${comment()}\nx: &shared { image: s/t:1, args: [q] }\nmetadata:   {generateName: a-}\nspec:\n${wide}entrypoint:   t0\n${wide}templates:${comment()}\n${templates}# last\n`;
  return draw(4) === 0 ? text.replaceAll("\n", "\r\n") : text;
}

function meant(text: string): unknown {
  const [document] = parseAllDocuments(text, { version: "1.1", merge: true });
  const object = recordOf(document && "toJS" in document ? document.toJS() : undefined);
  const spec = recordOf(object["spec"]);
  const templates = listOf(spec["templates"]).map((item) => {
    const { wasm, ...rest } = recordOf(item);
    return wasm === undefined ? rest : { ...rest, plugin: { wasm } };
  });
  return { ...object, spec: { ...spec, templates } };
}

/** Without what was put around, line by line: nothing else may be another. */
function undone(text: string): string {
  return text
    .replaceAll(/^[ \t]*(?:- )?plugin:(\r?)\n/gm, "")
    .replaceAll(/(["']?)plugin\1: \{(["']?wasm.*?(?:\*shared|\]\})) ?\}(?=\s|$)/gm, "$2")
    .replaceAll(/^[ \t]+/gm, "");
}

describe("rewriting, for workflows that are drawn", () => {
  test("puts plugin around wasm and changes no other byte but indentation, and nothing the second time", () => {
    for (let seed = 1; seed <= 1500; seed += 1) {
      const text = workflow(drawn(seed));
      const { text: after, problems } = rewriteText(text, "f.yaml");
      const about = `seed ${seed}\n${text}\n=>\n${after}`;
      assert.deepEqual(problems, [], about);
      const [document] = parseAllDocuments(after, { version: "1.1", merge: true });
      assert.deepEqual(
        document && "toJS" in document ? document.toJS() : undefined,
        meant(text),
        about,
      );
      assert.equal(undone(after), text.replaceAll(/^[ \t]+/gm, ""), about);
      assert.equal(rewriteText(after, "f.yaml").text, after, about);
    }
  });
});
