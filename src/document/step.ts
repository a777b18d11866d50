import { Failure } from "../errors/mod.ts";
import { hostLimits, type Limits } from "../limits/mod.ts";
import { checkTemplatePlaces } from "./locations.ts";
import { template as shape } from "./keys.ts";
import { checkLeaf, checkLimits, checkOutputs, checkUnique } from "./leaf.ts";
import type { Template, Wasm } from "./model.ts";
import { rewriteTemplate } from "./rewrite.ts";
import { build, checkShape, Origins } from "./shape.ts";
import { Report, Source } from "./source.ts";
import { madeTree, withEntries } from "./tree.ts";

/** A template that runs a module, with everything filled in. */
export interface StepTemplate extends Pick<
  Template,
  "name" | "inputs" | "outputs" | "timeout" | "activeDeadlineSeconds" | "archiveLocation"
> {
  readonly wasm: Wasm;
}

export interface StepReading {
  /** Absent when there are problems. */
  readonly template?: StepTemplate;
  /** Every mistake. They stand nowhere, as nobody wrote this text. */
  readonly problems: readonly Failure[];
}

/** What else a template has is the engine's that hands it out. */
const read = [
  "name",
  "inputs",
  "outputs",
  "plugin",
  "timeout",
  "activeDeadlineSeconds",
  "archiveLocation",
];
/** Mappings and lists in each other; a template of people's has ten. */
const deepest = 64;

/**
 * Reads one template with `plugin.wasm` that another engine has filled in and hands out to be run: JSON in which every scalar may be a text.
 * Never throws for what is in it.
 */
export function readStep(
  written: Readonly<Record<string, unknown>>,
  options: {
    /** The highest limits that a step may ask for; absent: those that this machinery is built for. */
    readonly limits?: Limits;
  } = {},
): StepReading {
  if (isDeeper(written, deepest)) {
    const message = `The template has more than ${deepest} mappings and lists in each other`;
    return { problems: [new Failure("workflow-invalid", message)] };
  }
  const report = new Report();
  const origins = new Origins();
  const spot = { source: new Source("", ""), at: 0 };
  const picked = read.flatMap((key) =>
    written[key] === undefined ? [] : [[key, written[key]] as const],
  );
  const tree = madeTree(spot, Object.fromEntries(picked));
  if (tree.kind !== "mapping") return { problems: [] };
  const rewritten = rewriteTemplate(tree, undefined, report);
  // Inline templates have none.
  const named = withEntries(rewritten, {
    name: rewritten.entries.get("name")?.value ?? madeTree(spot, "step"),
  });
  checkShape(named, shape, report, "the template");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what `build` makes has the type of its shape
  const template = build(named, shape, origins) as Template;
  const found = { id: "", label: `Template "${template.name}"`, template };
  checkUnique(template, report, origins);
  checkLeaf(found, report, origins);
  checkOutputs(found, report, origins);
  checkLimits(found, options.limits ?? hostLimits(), report, origins);
  checkTemplatePlaces(template, { report, origins, secrets: undefined });
  const problems = report
    .problems([])
    .map(
      ({ code, message, hint }) => new Failure(code, message, hint === undefined ? {} : { hint }),
    );
  const { wasm, ...rest } = template;
  return problems.length === 0 && wasm ? { template: { ...rest, wasm }, problems } : { problems };
}

function isDeeper(value: unknown, left: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return left === 0 || Object.values(value).some((inner) => isDeeper(inner, left - 1));
}
