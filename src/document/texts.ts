import {
  evaluateCondition,
  ExpressionFailure,
  expressionReferences,
  references,
  type Reference,
} from "../expression/mod.ts";
import { Failure } from "../errors/mod.ts";
import { short } from "./forms.ts";
import { wrongName, type Scope } from "./names.ts";
import type { Origins } from "./shape.ts";
import type { Report, Spot } from "./source.ts";
import { meant } from "./suggest.ts";
import { child, isNull, spotIn, textOf, type ScalarTree, type Tree } from "./tree.ts";

/** Keys whose text is an expression as a whole. */
const expressionKeys: ReadonlySet<string> = new Set(["expression", "fromExpression"]);

/** Data of ConfigMaps, by name. */
export type ConfigMaps = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** Keys below which everything is the user's own. */
const freeKeys: ReadonlySet<string> = new Set(["withItems", "labels", "annotations"]);
/** Stands for a key of the user's own. */
const freeText = "";

/** Looks at every `{{…}}` and every expression: that it can be read, and that what it names is known where it stands. */
export class TextCheck {
  readonly #report: Report;
  readonly #origins: Origins;
  readonly #configMaps: ConfigMaps;

  constructor(report: Report, origins: Origins, configMaps: ConfigMaps) {
    this.#report = report;
    this.#origins = origins;
    this.#configMaps = configMaps;
  }

  /** All texts of an object and below it, of some or all but some of its keys. */
  below(
    built: object,
    scope: Scope,
    keys: { readonly skip?: readonly string[]; readonly only?: readonly string[] } = {},
  ): void {
    const tree = this.#origins.tree(built);
    if (tree?.kind !== "mapping") return;
    for (const [key, { value }] of tree.entries) {
      if (keys.skip?.includes(key) || (keys.only && !keys.only.includes(key))) continue;
      this.#tree(value, key, scope);
    }
  }

  part(built: object, key: string, scope: Scope): void {
    const tree = this.#origins.part(built, key);
    if (tree) this.#tree(tree, key, scope);
  }

  #tree(tree: Tree, key: string, scope: Scope): void {
    if (freeKeys.has(key) || key === freeText) {
      if (tree.kind === "mapping") {
        for (const { value } of tree.entries.values()) this.#tree(value, freeText, scope);
      } else if (tree.kind === "sequence") {
        for (const item of tree.items) this.#tree(item, freeText, scope);
      } else if (!isNull(tree)) this.#text(tree, freeText, scope);
    } else if (tree.kind === "mapping") {
      const reference = tree.entries.get("configMapKeyRef")?.value;
      if (reference && !tree.entries.has("default")) this.#configMap(reference);
      for (const [inner, { value }] of tree.entries) this.#tree(value, inner, scope);
    } else if (tree.kind === "sequence") {
      for (const item of tree.items) this.#tree(item, "item", scope);
    } else if (!isNull(tree)) this.#text(tree, key, scope);
  }

  #text(tree: ScalarTree, key: string, scope: Scope): void {
    const { text } = tree;
    if (expressionKeys.has(key)) {
      // tags are filled in first; what stands between them is an expression
      if (text.includes("{{")) return this.#names(tree, () => references(text), scope);
      return this.#names(tree, () => expressionReferences(text), scope, true);
    }
    if (text.includes("{{")) this.#names(tree, () => references(text), scope);
    else if (key === "when") this.#condition(tree);
    else if (key === "from" || key === "parameter") {
      // Argo takes the name without braces, too
      this.#names(
        tree,
        () => [{ name: text, offset: 0, length: text.length, optional: false }],
        scope,
      );
    }
    if (key === "from") this.#artifact(tree);
  }

  /** What `from` names is an artifact. */
  #artifact(tree: ScalarTree): void {
    const name = /^\{\{([^{}=]*)\}\}$/.exec(tree.text.trim())?.[1]?.trim() ?? tree.text.trim();
    if (
      name.includes("{{") ||
      /^(inputs|(steps|tasks)\.[^.]+\.outputs|workflow\.outputs)\.artifacts\./.test(name)
    ) {
      return;
    }
    this.#report.problem(
      tree,
      `"${short(name)}" is no artifact`,
      "Write {{inputs.artifacts.NAME}} or {{steps.STEP.outputs.artifacts.NAME}}.",
    );
  }

  /** The ConfigMap and the key are there. */
  #configMap(reference: Tree): void {
    const name = textOf(reference, "name");
    const key = textOf(reference, "key");
    if (name === undefined || key === undefined || `${name}${key}`.includes("{{")) return;
    const optional = child(reference, "optional");
    if (optional?.kind === "scalar" && optional.value === true) return;
    const data = this.#configMaps[name];
    if (!data) {
      const names = Object.keys(this.#configMaps);
      const hint =
        names.length === 0 ? "Give the file with the ConfigMap, too." : meant(name, names);
      this.#report.problem(
        child(reference, "name") ?? reference,
        `There is no ConfigMap "${name}" among the files`,
        hint,
      );
    } else if (data[key] === undefined) {
      this.#report.problem(
        child(reference, "key") ?? reference,
        `The ConfigMap "${name}" has no key "${key}"`,
        meant(key, Object.keys(data)),
      );
    }
  }

  #names(
    tree: ScalarTree,
    read: () => readonly Reference[],
    scope: Scope,
    whole: boolean = false,
  ): void {
    let found: readonly Reference[];
    try {
      found = read();
    } catch (thrown) {
      if (!(thrown instanceof ExpressionFailure)) throw thrown;
      const hint =
        thrown.hint ?? (tree.text.includes("}}") || whole ? expressionHint : 'Close it with "}}".');
      this.#report.problem(spotIn(tree, thrown.offset), capital(thrown.reason), hint);
      return;
    }
    for (const { name, offset, optional } of found) {
      const part = whole || !/\{\{\s*$/.test(tree.text.slice(Math.max(0, offset - 80), offset));
      const wrong = wrongName(name, scope, { part, brief: this.#report.crowded });
      if (wrong && !optional) this.#report.problem(spotIn(tree, offset), wrong.message, wrong.hint);
      if (!wrong) this.#hidden(name, scope, () => spotIn(tree, offset));
    }
  }

  #hidden(name: string, { siblings }: Scope, spot: () => Spot): void {
    const [root, key = "", ...rest] = name.split(".");
    if (!siblings || root !== siblings.word || (key === "name" && rest.length === 0)) return;
    siblings.hidden(key, ({ message, hint }) => this.#report.problem(spot(), message, hint));
  }

  /** A condition without tags can be tried. */
  #condition(tree: ScalarTree): void {
    try {
      evaluateCondition(tree.text);
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      this.#report.problem(tree, thrown.message, thrown.hint ?? conditionHint);
    }
  }
}

const expressionHint = "Expressions are those of expr-lang, such as inputs.parameters.a == 'b'.";
const conditionHint =
  "A condition compares texts and numbers, such as {{steps.a.outputs.result}} == heads.";

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
