import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  Pair,
  parseAllDocuments,
  Scalar,
  YAMLMap,
  type Document,
} from "yaml";
import { readStep } from "../../document/mod.ts";
import { Failure } from "../../errors/mod.ts";
import { recordOf } from "../../kubernetes/mod.ts";
import { fromContainer, runtimeOf } from "./container.ts";

export interface Rewritten {
  /** Documents in which nothing had to be changed are as they were, byte for byte. */
  readonly text: string;
  /** Templates that are something else now. */
  readonly changed: number;
  /** What is wrong with what a step runs, each with its place. */
  readonly problems: readonly Failure[];
}

const workflowKinds: ReadonlySet<string> = new Set([
  "Workflow",
  "WorkflowTemplate",
  "ClusterWorkflowTemplate",
]);
/** Lists in lists, and inline templates in inline templates. */
const deepest = 32;

/**
 * Rewrites all documents of a YAML or JSON text: workflows, templates of both kinds and cron workflows, also in lists and in a ResourceList of KRM functions. Comments,
 * order and quotes stay; a second time changes nothing. Documents of other kinds are not touched.
 */
export function rewriteText(text: string, file: string): Rewritten {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    keepSourceTokens: true,
    version: "1.1",
    merge: true,
    uniqueKeys: false,
  });
  if (!Array.isArray(documents)) return { text, changed: 0, problems: [] };
  const rewriter = new Rewriter(file, lines);
  const parts: string[] = [];
  let at = 0;
  let start = 0;
  for (const document of documents) {
    const [error] = document.errors;
    const end = document.range?.[2] ?? text.length;
    if (error) {
      const [first = ""] = error.message.split("\n");
      rewriter.problem(error.pos[0], `This is no YAML: ${first}`);
    } else {
      const before = rewriter.changed;
      try {
        rewriter.begin(document, text);
        rewriter.object(document.contents, 0);
        const own = text.slice(start, end);
        if (rewriter.changed > before && /^\s*\{/.test(own) && hasLongNumber(own)) {
          rewriter.problem(
            start,
            "The document has a number that JSON cannot hold exactly",
            "Write it as YAML.",
          );
        } else if (rewriter.changed > before) {
          // Comments before a document are its own.
          const spliced = rewriter.spliced(start, end);
          parts.push(text.slice(at, start), spliced ?? written(document, own));
          at = end;
        }
      } catch (thrown) {
        const reason = thrown instanceof Error ? thrown.message : String(thrown);
        rewriter.problem(
          start,
          `The document cannot be rewritten: ${reason}`,
          "Write its aliases out.",
        );
      }
    }
    start = end;
  }
  parts.push(text.slice(at));
  return { text: parts.join(""), changed: rewriter.changed, problems: rewriter.problems };
}

class Rewriter {
  changed = 0;
  readonly problems: Failure[] = [];
  readonly #file: string;
  readonly #lines: LineCounter;
  readonly #seen = new Set<YAMLMap>();
  #document: Document | undefined;
  #text = "";
  /** What to change in the text itself; undefined when that is not all. */
  #edits: Edit[] | undefined;

  constructor(file: string, lines: LineCounter) {
    this.#file = file;
    this.#lines = lines;
  }

  /** The document that comes next. */
  begin(document: Document, text: string): void {
    this.#document = document;
    this.#text = text;
    this.#edits = [];
  }

  /** The text of the document with no more changed than has to be; undefined where that does not say what the document says now. */
  spliced(start: number, end: number): string | undefined {
    const document = this.#document;
    if (!this.#edits || !document) return undefined;
    let text = "";
    let at = start;
    for (const edit of this.#edits.toSorted((one, other) => one.at - other.at)) {
      text += this.#text.slice(at, edit.at) + edit.text;
      at = edit.end;
    }
    text += this.#text.slice(at, end);
    const again = parseAllDocuments(text, { version: "1.1", merge: true, uniqueKeys: false });
    const [only] = Array.isArray(again) ? again : [];
    if (!only || again.length !== 1 || only.errors.length > 0) return undefined;
    return JSON.stringify(only.toJS()) === JSON.stringify(document.toJS()) ? text : undefined;
  }

  problem(
    at: number,
    message: string,
    hint?: string,
    code: Failure["code"] = "workflow-invalid",
  ): void {
    const { line, col } = this.#lines.linePos(at);
    this.problems.push(
      new Failure(code, message, {
        place: { file: this.#file, line, column: col },
        ...(hint === undefined ? {} : { hint }),
      }),
    );
  }

  /** An object of Kubernetes. */
  object(node: unknown, depth: number): void {
    if (!isMap(node) || depth > deepest) return;
    const said = node.get("kind");
    const kind = typeof said === "string" ? said : "";
    const spec = node.get("spec", true);
    const version = node.get("apiVersion");
    // Others have kinds of these names, too.
    if (
      typeof version === "string" &&
      kind.includes("Workflow") &&
      !version.startsWith("argoproj.io/")
    )
      return;
    if (workflowKinds.has(kind)) this.#spec(spec, depth);
    else if (kind === "CronWorkflow" && isMap(spec))
      this.#spec(spec.get("workflowSpec", true), depth);
    else if (kind === "List" || kind === "ResourceList" || kind.endsWith("WorkflowList")) {
      const items = node.get("items", true);
      if (isSeq(items)) for (const item of items.items) this.object(item, depth + 1);
    }
  }

  #spec(spec: unknown, depth: number): void {
    if (!isMap(spec)) return;
    const templates = spec.get("templates", true);
    if (isSeq(templates)) for (const item of templates.items) this.#template(item, depth);
    this.#template(spec.get("templateDefaults", true), depth);
  }

  #template(written: unknown, depth: number): void {
    const node = isAlias(written) ? written.resolve(this.#known) : written;
    if (!isMap(node) || depth > deepest || this.#seen.has(node)) return;
    this.#seen.add(node);
    const steps = node.get("steps", true);
    if (isSeq(steps)) {
      for (const group of steps.items) {
        if (isSeq(group)) for (const step of group.items) this.#inline(step, depth);
      }
    }
    const dag = node.get("dag", true);
    const tasks = isMap(dag) ? dag.get("tasks", true) : undefined;
    if (isSeq(tasks)) for (const task of tasks.items) this.#inline(task, depth);
    const runtime = runtimeOf(node);
    if (node.has("wasm")) this.#wasm(node);
    else if (runtime === "wasm") {
      for (const key of ["container", "script"] as const) {
        if (!node.has(key)) continue;
        const wrong = fromContainer(node, key);
        if (wrong)
          this.problem(
            offsetOf(node.get(key, true)),
            wrong.message,
            wrong.hint,
            "workflow-unsupported",
          );
        else {
          this.changed += 1;
          this.#edits = undefined;
        }
      }
    }
    this.#check(node);
  }

  get #known(): Document {
    if (this.#document) return this.#document;
    throw new Error("no document");
  }

  #inline(step: unknown, depth: number): void {
    if (isMap(step)) this.#template(step.get("inline", true), depth + 1);
  }

  #wasm(template: YAMLMap): void {
    const pair = template.items.find(({ key }) => isScalar(key) && key.value === "wasm");
    if (!pair || !isScalar(pair.key)) return;
    const types = template.items.filter(
      ({ key }) => isScalar(key) && (key.value === "wasm" || key.value === "plugin"),
    );
    if (types.length > 1) {
      this.problem(
        offsetOf(pair.key),
        "The template has more than one of wasm and plugin",
        "Keep one of them.",
      );
      return;
    }
    const { module } = recordOf(this.#plain(pair.value));
    if (typeof module === "string") {
      this.problem(
        offsetOf(pair.value),
        `The module file "${module}" is on this machine, and not on the cluster`,
        "Push it with `atalanta image push`, and write image.",
      );
    }
    this.#edits?.push(...nested(pair.key, pair.value, this.#text));
    pair.key.value = "plugin";
    delete pair.key.source;
    const flow = isMap(pair.value) ? pair.value.flow === true : false;
    pair.value = wrapped(pair.value, flow);
    this.changed += 1;
  }

  /** A node as data; what it cannot be is nothing. */
  #plain(node: unknown): unknown {
    try {
      return isNode(node) ? node.toJS(this.#known) : undefined;
    } catch {
      return undefined;
    }
  }

  /** What the module is given, as far as it is known before anything is filled in. */
  #check(template: YAMLMap): void {
    const plugin = template.get("plugin", true);
    if (!isMap(plugin) || !plugin.has("wasm")) return;
    if (this.#plain(plugin.get("wasm", true)) == null) {
      this.problem(offsetOf(plugin), '"wasm" must be a mapping, and is empty', "Give it an image.");
      return;
    }
    for (const { message, hint, code } of readStep(recordOf(this.#plain(template))).problems) {
      this.problem(offsetOf(plugin.get("wasm", true)), message, hint, code);
    }
  }
}

/** Whether text in JSON has a whole number that is another one when it is read. */
function hasLongNumber(json: string): boolean {
  // What looks so within a text is none.
  const bare = json.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');
  const numbers = bare.match(/(?<![\d.eE+-])-?\d{16,}(?![\d.eE])/g) ?? [];
  return numbers.some((number) => BigInt(Number(number)) !== BigInt(number));
}

function wrapped(value: unknown, flow: boolean): YAMLMap {
  const map = new YAMLMap();
  map.flow = flow;
  map.items.push(new Pair(new Scalar("wasm"), value));
  return map;
}

interface Edit {
  readonly at: number;
  readonly end: number;
  readonly text: string;
}

/** `wasm: …` as `plugin: {wasm: …}`: in its own line where it is one, else by lines that are further in. */
function nested(key: Scalar, value: unknown, text: string): readonly Edit[] {
  const [begin, end] = key.range ?? [0, 0];
  const range = isNode(value) ? value.range : undefined;
  if (!range) return [];
  const word = text.slice(begin, end);
  if (!isMap(value) || value.flow === true) {
    const [quote = ""] = /^["']/.exec(word) ?? [];
    return [
      { at: begin, end, text: `${quote}plugin${quote}: {${word}` },
      // The name of an alias ends with a blank.
      { at: range[1], end: range[1], text: isAlias(value) ? " }" : "}" },
    ];
  }
  const column = begin - (text.lastIndexOf("\n", begin - 1) + 1);
  const first = text.indexOf("\n", end);
  const lineEnd = text[first - 1] === "\r" ? "\r\n" : "\n";
  const edits: Edit[] = [
    { at: begin, end, text: `plugin:${lineEnd}${" ".repeat(column + 2)}${word}` },
  ];
  for (let at = first; at >= 0 && at < range[1]; at = text.indexOf("\n", at + 1)) {
    const isBlank = /^[ \t\r]*(?:\n|$)/.test(text.slice(at + 1, at + 200));
    if (!isBlank && at + 1 < range[1]) edits.push({ at: at + 1, end: at + 1, text: "  " });
  }
  return edits;
}

function offsetOf(node: unknown): number {
  return (isMap(node) || isSeq(node) || isScalar(node)) && node.range ? node.range[0] : 0;
}

/** In the manner of what it was: JSON stays JSON, and lines are not folded anew. */
function written(document: Document, before: string): string {
  if (/^\s*\{/.test(before)) {
    const indent = /^\s*\{\s*\n/.test(before) ? 2 : 0;
    const json = JSON.stringify(document.toJSON(), undefined, indent);
    return `${json}${/\n\s*$/.test(before) ? "\n" : ""}`;
  }
  const indented = /^( *)[^\s#][^:\n]*:[ \t]*\n\1(?:#[^\n]*\n\1)*- /m.test(before);
  const text = document.toString({
    lineWidth: 0,
    indentSeq: !indented,
    flowCollectionPadding: false,
  });
  return /^(?:\s|#[^\n]*\n|%[^\n]*\n)*---/.test(before) ? text : text.replace(/^---\n/, "");
}
