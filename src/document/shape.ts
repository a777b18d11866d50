import { short, wrongForm } from "./forms.ts";
import type { Key, ObjectShape, Shape } from "./shapes.ts";
import { Source, type Report, type Spot } from "./source.ts";
import { closest, meant } from "./suggest.ts";
import { isNull, textOf, type Mapping, type ScalarTree, type Tree } from "./tree.ts";

/** Looks at every key and value of a tree: what is unknown, of the wrong type or form, refused, or without effect is reported. */
export function checkShape(
  tree: Tree,
  shape: Shape,
  report: Report,
  name: string = "the document",
): void {
  switch (shape.kind) {
    case "any":
      return;
    case "later":
      return checkShape(tree, shape.shape(), report, name);
    case "either":
      return checkShape(tree, shape.shapes[tree.kind === "mapping" ? 1 : 0], report, name);
    case "object":
      if (tree.kind === "mapping")
        return checkObject(tree, shape, report, labelOf(tree, shape, name));
      return report.problem(
        tree,
        `${capital(name)} must be a mapping, not ${kindOf(tree)}`,
        mappingHint,
      );
    case "map":
      if (tree.kind !== "mapping")
        return report.problem(
          tree,
          `${capital(name)} must be a mapping, not ${kindOf(tree)}`,
          mappingHint,
        );
      for (const [key, { value }] of tree.entries) {
        if (!isNull(value)) checkShape(value, shape.of, report, `"${short(key)}"`);
        else if (shape.of.kind !== "text")
          report.problem(value, `"${short(key)}" has no value`, "Add a value, or remove it.");
      }
      return;
    case "list":
      if (tree.kind !== "sequence")
        return report.problem(
          tree,
          `${capital(name)} must be a list, not ${kindOf(tree)}`,
          listHint(shape, tree),
        );
      for (const item of tree.items) {
        if (isNull(item))
          report.problem(item, `An item of ${name} is empty`, "Remove it, or write it out.");
        else checkShape(item, shape.of, report, `an item of ${name}`);
      }
      return;
    case "text":
    case "scalar":
      return checkText(tree, shape, report, name);
    case "flag":
      if (tree.kind === "scalar" && typeof tree.value === "boolean") return;
      return report.problem(
        tree,
        `${capital(name)} must be true or false, not ${kindOf(tree)}`,
        "Write it without quotes.",
      );
    case "whole": {
      const { least = Number.MIN_SAFE_INTEGER, most = Number.MAX_SAFE_INTEGER } = shape;
      const value = tree.kind === "scalar" ? tree.value : undefined;
      if (!Number.isSafeInteger(value))
        return report.problem(
          tree,
          `${capital(name)} must be a whole number, not ${kindOf(tree)}`,
          "Write it without quotes and fraction.",
        );
      if (Number(value) < least)
        return report.problem(
          tree,
          `${name} is ${String(value)}; the least is ${least}`,
          `Write ${least} or more.`,
        );
      if (Number(value) > most)
        return report.problem(
          tree,
          `${name} is ${String(value)}; the most is ${most}`,
          `Write ${most} or less.`,
        );
    }
  }
}

function listHint({ of }: { readonly of: Shape }, tree: Tree): string {
  if (of.kind === "list") return 'Begin each group with "- -": a list of lists of steps.';
  if (of.kind === "object" && tree.kind === "mapping")
    return 'Begin it with "- -": it is a list in the list.';
  return 'Begin each item with "- ".';
}

/** What a message calls a mapping: by its own name, if it has one. */
function labelOf(tree: Mapping, shape: ObjectShape, name: string): string {
  const own = shape.keys.has("name") ? textOf(tree, "name") : undefined;
  return own === undefined
    ? name
    : `${shape.name.replaceAll(/(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase()} "${short(own)}"`;
}

const mappingHint = 'Write "key: value" lines below it.';

function kindOf(tree: Tree): string {
  if (tree.kind !== "scalar") return tree.kind === "mapping" ? "a mapping" : "a list";
  if (tree.value === null) return "empty";
  return typeof tree.value === "string" ? `"${short(tree.text)}"` : tree.text;
}

function checkText(
  tree: Tree,
  shape: Extract<Shape, { kind: "text" | "scalar" }>,
  report: Report,
  name: string,
): void {
  if (tree.kind !== "scalar") {
    if (tree.source.text.startsWith("{{", tree.at)) return; // reported as what it was meant to be
    return report.problem(
      tree,
      `${capital(name)} must be a text, not ${kindOf(tree)}`,
      "Write one value.",
    );
  }
  if (tree.value === null) return;
  const word = tree.source.text.slice(tree.at, tree.end);
  if (typeof tree.value === "boolean" && word.toLowerCase() !== tree.text) {
    report.warning(tree, `YAML takes ${word} for ${tree.text}`, `Write "${word}" with quotes.`);
  }
  if (shape.kind === "text" && shape.words && !shape.words.includes(tree.text)) {
    const one =
      shape.words.length === 1 ? (shape.words[0] ?? "") : `one of ${shape.words.join(", ")}`;
    return report.problem(
      tree,
      `${name} is "${short(tree.text)}", not ${one}`,
      meant(tree.text, shape.words),
    );
  }
  const wrong = shape.form && wrongForm(shape.form, tree.text);
  if (wrong) report.problem(tree, `${name.replaceAll('"', "")}: ${wrong.message}`, wrong.hint);
  if (!wrong && shape.form === "artifact name" && tree.text.includes(".")) {
    report.warning(
      tree,
      `Argo on a cluster refuses the artifact name "${short(tree.text)}"`,
      "Use letters, digits, - and _.",
    );
  }
}

function checkObject(tree: Mapping, shape: ObjectShape, report: Report, name: string): void {
  for (const [word, { key, value }] of tree.entries) {
    const known = shape.keys.get(word);
    if (!known && shape.others !== undefined) {
      report.problem(
        key,
        `The key "${short(word)}" is not supported here`,
        shape.others,
        "workflow-unsupported",
      );
    } else if (!known) {
      report.problem(
        key,
        `Unknown key "${short(word)}" in ${name}`,
        unknownHint(word, shape, report),
      );
    } else if (known.state === "refused") {
      report.problem(
        key,
        `The key "${word}" is not supported here`,
        known.hint,
        "workflow-unsupported",
      );
    } else if (known.state === "idle") {
      report.warning(
        key,
        `The key "${word}" has no effect here: ${known.why}`,
        "Remove it, or leave it for a cluster.",
      );
    } else {
      if (known.warning !== undefined) {
        report.warning(key, `The key "${word}" has no effect here but its value: ${known.warning}`);
      }
      if (!isNull(value)) checkShape(value, known.shape, report, `"${word}"`);
    }
  }
  for (const word of shape.required) {
    const value = tree.entries.get(word)?.value;
    if (!value || isNull(value))
      report.problem(tree, `${capital(name)} lacks "${word}"`, `Add "${word}:".`);
  }
}

/** Where a key stands that is right, but in the wrong place. */
const elsewhere: ReadonlyMap<string, string> = new Map([
  ["depends", 'Only tasks of a dag have "depends"; steps run group by group.'],
  ["dependencies", 'Only tasks of a dag have "dependencies"; steps run group by group.'],
]);

function unknownHint(word: string, shape: ObjectShape, report: Report): string | undefined {
  if (report.crowded) return undefined;
  const offered = [...shape.keys].filter(([, key]) => key.state !== "idle").map(([key]) => key);
  const near = closest(word, offered);
  if (near !== undefined) return `Did you mean "${near}"?`;
  return (
    elsewhere.get(word) ??
    meant(
      word,
      offered.filter((key) => shape.keys.get(key)?.state === "offered"),
    )
  );
}

const nowhere: Spot = { source: new Source("", ""), at: 0 };

/** Where the parts of built data stand. */
export class Origins {
  readonly #trees = new WeakMap<object, Tree>();

  note(built: object, tree: Tree): void {
    this.#trees.set(built, tree);
  }

  /** Where an object or list stands. */
  spot(built: object): Spot {
    return this.#trees.get(built) ?? nowhere;
  }

  /** The tree that an object or list was built from. */
  tree(built: object): Tree | undefined {
    return this.#trees.get(built);
  }

  /** The tree of a key or item of it. */
  part(built: object, key: string | number): Tree | undefined {
    const tree = this.#trees.get(built);
    if (tree?.kind === "mapping") return tree.entries.get(String(key))?.value;
    return tree?.kind === "sequence"
      ? tree.items.filter((item) => !isNull(item))[Number(key)]
      : undefined;
  }
}

/**
 * Makes plain data of a tree. What does not fit its shape is left out (`checkShape` has reported it), and a required key that is
 * missing is there but empty: so what comes out always has the type of its shape.
 */
export function build(tree: Tree | undefined, shape: Shape, origins: Origins): unknown {
  switch (shape.kind) {
    case "later":
      return build(tree, shape.shape(), origins);
    case "either":
      return build(tree, shape.shapes[tree?.kind === "mapping" ? 1 : 0], origins);
    case "object":
      return buildObject(tree, shape, origins);
    case "map":
      return tree?.kind === "mapping" ? buildMap(tree, shape.of, origins) : undefined;
    case "list": {
      if (tree?.kind !== "sequence") return undefined;
      const items = tree.items
        .filter((item) => !isNull(item))
        .map((item) => build(item, shape.of, origins));
      const kept = items.filter((item) => item !== undefined);
      if (kept.length === items.length) origins.note(kept, tree);
      return kept;
    }
    case "any":
      return tree ? plainData(tree) : undefined;
    case "text":
      return tree?.kind === "scalar" ? tree.text : undefined;
    case "scalar":
      return tree?.kind === "scalar" && tree.value !== null ? tree.value : undefined;
    case "flag":
      return tree?.kind === "scalar" && typeof tree.value === "boolean" ? tree.value : undefined;
    case "whole":
      return tree?.kind === "scalar" && typeof tree.value === "number" ? tree.value : undefined;
  }
}

function buildObject(tree: Tree | undefined, shape: ObjectShape, origins: Origins): unknown {
  if (tree?.kind !== "mapping") return undefined;
  const built: Record<string, unknown> = {};
  for (const [word, key] of shape.keys) {
    const value = key.state === "offered" ? buildKey(tree, word, key, origins) : undefined;
    if (value !== undefined) built[word] = value;
    else if (shape.required.includes(word) || shape.late.includes(word)) {
      const filler = key.state === "offered" ? empty(key.shape, origins, tree) : "";
      if (filler === undefined) return undefined;
      built[word] = filler;
    }
  }
  origins.note(built, tree);
  return built;
}

function buildKey(
  tree: Mapping,
  word: string,
  key: Extract<Key, { state: "offered" }>,
  origins: Origins,
): unknown {
  const value = tree.entries.get(word)?.value;
  if (!value || isNull(value)) return undefined;
  return build(value, key.shape, origins);
}

function empty(shape: Shape, origins: Origins, near: Tree): unknown {
  if (shape.kind === "text") return "";
  if (shape.kind === "list") return [];
  if (shape.kind !== "object") return undefined;
  return buildObject(
    { kind: "mapping", source: near.source, at: near.at, entries: new Map() },
    shape,
    origins,
  );
}

function buildMap(tree: Mapping, of: Shape, origins: Origins): unknown {
  // no prototype: `__proto__` is a key like any other
  const built: Record<string, unknown> = Object.create(null);
  for (const [word, { value }] of tree.entries) {
    const item = build(value, of, origins);
    if (item !== undefined) built[word] = item;
  }
  origins.note(built, tree);
  return built;
}

/** A tree as the data that JSON would have. */
export function plainData(tree: Tree): unknown {
  if (tree.kind === "scalar") return plainValue(tree);
  if (tree.kind === "sequence") return tree.items.map(plainData);
  const built: Record<string, unknown> = Object.create(null);
  for (const [word, { value }] of tree.entries) built[word] = plainData(value);
  return built;
}

function plainValue(tree: ScalarTree): string | number | boolean | null {
  return tree.value;
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
