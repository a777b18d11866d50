import { Composer, isAlias, isMap, isScalar, isSeq, Parser, type CST, type Scalar } from "yaml";
import { resolvePlain } from "./plain.ts";
import { Source, type Report, type Spot } from "./source.ts";
import { isNull, type Mapping, type ScalarTree, type Tree } from "./tree.ts";

/** Characters of one file. */
const documentLength = 10 * 1024 * 1024;
/** How deep a document may be nested. */
const nesting = 200;
/** What aliases may add to a document: its characters, and this much for each value beside them. */
const unfolding = { characters: 10 * 1024 * 1024, value: 16 };

/** Reads the YAML documents of a file. What is no YAML is reported, and the other documents are still read. */
export function readYaml(file: string, text: string, report: Report): readonly Tree[] {
  const source = new Source(file, text.length > documentLength ? "" : text);
  const start: Spot = { source, at: 0 };
  if (text.length > documentLength) {
    const message = `The file has ${text.length} characters; the ceiling is ${documentLength}`;
    report.problem(start, message, "Pass large data as artifacts.");
    return [];
  }
  const binary = unreadable(text);
  if (binary) {
    report.problem({ source, at: binary.at }, binary.message, "Save the file as text in UTF-8.");
    return [];
  }
  const tokens = [...new Parser().parse(text)];
  const deep = tooDeep(tokens);
  if (deep !== undefined) {
    report.problem(
      { source, at: deep },
      `The document is nested deeper than ${nesting} levels`,
      "Write it flatter.",
    );
    return [];
  }
  const trees: Tree[] = [];
  // "failsafe" leaves every word a text: what it means is ours to say; and its own search for double keys takes quadratic time
  const composer = new Composer({ schema: "failsafe", uniqueKeys: false, logLevel: "silent" });
  for (const document of composer.compose(tokens)) {
    for (const error of document.errors) {
      const [summary = ""] = error.message.split("\n");
      const message = summary.replace(/:? at line \d+, column \d+:?$/, "");
      report.problem({ source, at: error.pos[0] }, `YAML: ${message}`, hintFor(error.code));
    }
    if (document.errors.length > 0 || document.contents === null) continue;
    const tree = new Grower(source, report).grow(document.contents);
    if (tree && !isNull(tree)) trees.push(tree);
  }
  return trees;
}

function unreadable(text: string): { readonly at: number; readonly message: string } | undefined {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  const at = text.search(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\ufffd]/);
  if (at < 0) return undefined;
  const found = text.charCodeAt(at);
  if (found === 0xfffd) return { at, message: "The file is not UTF-8" };
  return { at, message: `The file is no text: it has a byte ${found} in it` };
}

function hintFor(code: string): string {
  if (code === "TAB_AS_INDENT") return "Indent with spaces; YAML allows no tabs there.";
  if (code === "BAD_INDENT") return "Align it with the lines around it.";
  if (code === "MISSING_CHAR") return "Look for a quote, a bracket or a colon that is missing.";
  return "Look at this line and the one above it.";
}

/** Where a document becomes too deep for the functions that walk it, found without recursion. */
function tooDeep(tokens: readonly CST.Token[]): number | undefined {
  const todo: { readonly token: CST.Token; readonly depth: number }[] = [];
  for (const token of tokens) {
    if (token.type === "document" && token.value) todo.push({ token: token.value, depth: 1 });
  }
  for (let next = todo.pop(); next; next = todo.pop()) {
    const { token, depth } = next;
    if (depth > nesting) return token.offset;
    if (!("items" in token)) continue;
    for (const { key, value } of token.items) {
      if (key) todo.push({ token: key, depth: depth + 1 });
      if (value) todo.push({ token: value, depth: depth + 1 });
    }
  }
  return undefined;
}

/** What a tree weighs with its aliases unfolded. */
interface Weight {
  readonly size: number;
  readonly depth: number;
}

class Unfolded extends Error {}

/** Turns the nodes of one document into trees. */
class Grower {
  readonly #source: Source;
  readonly #report: Report;
  /** Trees by their anchor; undefined while it is still being read. */
  readonly #anchors = new Map<string, Tree | undefined>();
  readonly #weights = new WeakMap<Tree, Weight>();
  #unfolded = 0;

  constructor(source: Source, report: Report) {
    this.#source = source;
    this.#report = report;
  }

  /** Undefined when the aliases unfold to too much. */
  grow(contents: unknown): Tree | undefined {
    try {
      return this.#tree(contents, 0);
    } catch (thrown) {
      if (thrown instanceof Unfolded) return undefined;
      throw thrown;
    }
  }

  #tree(node: unknown, near: number): Tree {
    if (isAlias(node)) return this.#alias(node.source, node.range?.[0] ?? near);
    const anchor = isScalar(node) || isMap(node) || isSeq(node) ? node.anchor : undefined;
    if (anchor !== undefined) this.#anchors.set(anchor, undefined);
    const tree = this.#plainTree(node, near);
    if (anchor !== undefined) this.#anchors.set(anchor, tree);
    return tree;
  }

  #plainTree(node: unknown, near: number): Tree {
    if (isScalar(node)) return this.#weigh(this.#scalar(node, near), []);
    const source = this.#source;
    if (isMap(node)) {
      const mapping = this.#mapping(node.items, node.range?.[0] ?? near);
      return this.#weigh(
        mapping,
        [...mapping.entries.values()].map(({ value }) => value),
      );
    }
    if (isSeq(node)) {
      const at = node.range?.[0] ?? near;
      const items = node.items.map((item) => this.#tree(item, at));
      return this.#weigh({ kind: "sequence", source, at, items }, items);
    }
    const empty: ScalarTree = {
      kind: "scalar",
      source,
      at: near,
      end: near,
      value: null,
      text: "",
      style: "plain",
    };
    return this.#weigh(empty, []);
  }

  #weigh<T extends Tree>(tree: T, children: readonly Tree[]): T {
    let size = unfolding.value + (tree.kind === "scalar" ? tree.text.length : 0);
    let depth = 0;
    for (const item of children) {
      const weight = this.#weights.get(item);
      size += weight?.size ?? 0;
      depth = Math.max(depth, weight?.depth ?? 0);
    }
    this.#weights.set(tree, { size, depth: depth + 1 });
    if (depth + 1 > nesting) {
      this.#report.problem(
        tree,
        `The document is nested deeper than ${nesting} levels by its aliases`,
        "Write it flatter.",
      );
      throw new Unfolded();
    }
    return tree;
  }

  #alias(name: string, at: number): Tree {
    const spot = { source: this.#source, at };
    const tree = this.#anchors.get(name);
    if (!tree) {
      const message = this.#anchors.has(name)
        ? `The alias "*${name}" contains itself`
        : `There is no anchor "&${name}"`;
      this.#report.problem(spot, message, "Define the anchor before the alias.");
      return this.#plainTree(undefined, at);
    }
    this.#unfolded += this.#weights.get(tree)?.size ?? 0;
    if (this.#unfolded > unfolding.characters) {
      const message = `The aliases unfold to more than ${unfolding.characters} characters`;
      this.#report.problem(spot, message, "Write the values out instead of nesting aliases.");
      throw new Unfolded();
    }
    return tree;
  }

  #scalar(node: Scalar, near: number): ScalarTree {
    const source = this.#source;
    const [at, end] = node.range ?? [near, near];
    const text = node.source ?? "";
    const style = styles.get(node.type ?? "PLAIN") ?? "plain";
    const base = { kind: "scalar", source, at, end, style } as const;
    const tag = node.tag?.replace("tag:yaml.org,2002:", "!!");
    if (tag !== undefined && tag !== "!!str" && tag !== "!") {
      this.#report.problem(base, `The YAML tag "${tag}" is not supported`, "Remove it.");
    }
    if (style !== "plain" || tag !== undefined) return { ...base, value: text, text };
    const value = resolvePlain(text);
    const exact =
      typeof value !== "number" || Number.isSafeInteger(value) || !Number.isInteger(value);
    if (!exact) return { ...base, value: text, text };
    return { ...base, value, text: value === null ? "" : String(value) };
  }

  #mapping(
    items: readonly { readonly key: unknown; readonly value: unknown }[],
    at: number,
  ): Mapping {
    const source = this.#source;
    const entries = new Map<string, { key: Spot; value: Tree }>();
    const merged: Tree[] = [];
    for (const pair of items) {
      const key = this.#tree(pair.key, at);
      const value = this.#tree(pair.value, key.kind === "scalar" ? key.end : key.at);
      if (key.kind !== "scalar") {
        const tag = source.text.startsWith("{{", at);
        if (tag)
          this.#report.problem(
            { source, at },
            'What begins with "{{" is a mapping for YAML',
            "Put quotes around the value.",
          );
        else
          this.#report.problem(
            key,
            "A key must be a word",
            "Put quotes around it if it begins with { or [.",
          );
      } else if (key.style === "plain" && key.text === "<<") {
        merged.push(...(value.kind === "sequence" ? value.items : [value]));
      } else {
        const word = key.value === null ? "" : source.text.slice(key.at, key.end);
        const name = key.style === "plain" && typeof key.value !== "string" ? word : key.text;
        const first = entries.get(name);
        if (first) {
          const { line } = source.place(first.key.at);
          this.#report.problem(
            key,
            `The key "${name}" is there twice`,
            `Remove one; the first is in line ${line}.`,
          );
        } else entries.set(name, { key, value });
      }
    }
    for (const base of merged) {
      if (base.kind !== "mapping") {
        this.#report.problem(base, '"<<" must name a mapping', "Write <<: *anchor.");
        continue;
      }
      for (const [name, entry] of base.entries) if (!entries.has(name)) entries.set(name, entry);
    }
    return { kind: "mapping", source, at, entries };
  }
}

const styles: ReadonlyMap<string, ScalarTree["style"]> = new Map([
  ["PLAIN", "plain"],
  ["QUOTE_SINGLE", "single"],
  ["QUOTE_DOUBLE", "double"],
  ["BLOCK_LITERAL", "literal"],
  ["BLOCK_FOLDED", "folded"],
]);
