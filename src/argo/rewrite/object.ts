import { Failure } from "../../errors/mod.ts";
import { isRecord, listOf, recordOf, textOf } from "../../kubernetes/mod.ts";
import { runtimeAnnotation } from "../../document/mod.ts";
import { rewriteText } from "./rewrite.ts";

/** An operation of a JSON patch (RFC 6902). */
type PatchOperation =
  | { readonly op: "add" | "replace"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

interface RewrittenObject {
  /** What has to be changed; nothing for an object without Wasm. */
  readonly patch: readonly PatchOperation[];
  /** What is wrong with what its steps run; each says where. */
  readonly problems: readonly Failure[];
}

/** Nobody reads more of them, and an object can have many. */
const mostProblems = 20;
const deepest = 64;

/** Rewrites an object that is data already, as an API server has it: a workflow, a template of either kind or a cron workflow. */
export function rewriteObject(object: Readonly<Record<string, unknown>>): RewrittenObject {
  const patch: PatchOperation[] = [];
  const problems: Failure[] = [];
  const isCron = object["kind"] === "CronWorkflow";
  const at = isCron ? "/spec/workflowSpec" : "/spec";
  const outer = recordOf(object["spec"]);
  const spec = isCron ? recordOf(outer["workflowSpec"]) : outer;
  const templates = [
    ...listOf(spec["templates"]).map((value, index) => ({
      value,
      path: `${at}/templates/${index}`,
    })),
    { value: spec["templateDefaults"], path: `${at}/templateDefaults` },
  ];
  for (const { value, path } of templates) {
    if (!isRecord(value)) continue;
    // Most templates have nothing to do with us, whatever else they have in them.
    if (!isOurs(value, 0)) continue;
    if (problems.length >= mostProblems) break;
    if (!isShallow(value)) {
      const message = `The template has more than ${deepest} mappings and lists in each other`;
      problems.push(placed(new Failure("workflow-invalid", message), textOf(value["name"]), path));
      continue;
    }
    const whole = { apiVersion: "argoproj.io/v1alpha1", kind: "Workflow" };
    const made = rewriteText(JSON.stringify({ ...whole, spec: { templates: [value] } }), path);
    problems.push(...made.problems.map((problem) => placed(problem, textOf(value["name"]), path)));
    if (made.changed === 0) continue;
    const [after] = listOf(recordOf(recordOf(JSON.parse(made.text))["spec"])["templates"]);
    patch.push(...differences(value, after, path));
  }
  return { patch, problems };
}

/** Whether a template, or one inside of its steps, is for us. */
function isOurs(template: Readonly<Record<string, unknown>>, depth: number): boolean {
  if (template["wasm"] !== undefined || "wasm" in recordOf(template["plugin"])) return true;
  const { metadata, annotations } = template;
  for (const holder of [annotations, recordOf(metadata)["annotations"]])
    if (recordOf(holder)[runtimeAnnotation] !== undefined) return true;
  if (depth >= deepest) return false;
  const steps = listOf(template["steps"]).flatMap(listOf);
  return [...steps, ...listOf(recordOf(template["dag"])["tasks"])].some((step) =>
    isOurs(recordOf(recordOf(step)["inline"]), depth + 1),
  );
}

/** Asked level by level, since what is too deep is too deep for calls in each other. */
function isShallow(value: unknown): boolean {
  let level: readonly unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > deepest) return false;
    level = level.flatMap((one) => {
      if (Array.isArray(one)) return one;
      return isRecord(one) ? Object.values(one) : [];
    });
  }
  return true;
}

/** An object has no lines. */
function placed({ code, message, hint }: Failure, name: string | undefined, path: string): Failure {
  const where = path
    .slice(1)
    .replaceAll(/\/(\d+)/g, "[$1]")
    .replaceAll("/", ".");
  const told = name === undefined ? where : `${where} (template "${name}")`;
  return new Failure(code, `${told}: ${message}`, hint === undefined ? {} : { hint });
}

function* differences(before: unknown, after: unknown, path: string): Generator<PatchOperation> {
  if (JSON.stringify(before) === JSON.stringify(after)) return;
  if (isRecord(before) && isRecord(after)) {
    for (const key of Object.keys(before))
      if (!(key in after)) yield { op: "remove", path: `${path}/${escaped(key)}` };
    for (const [key, value] of Object.entries(after)) {
      const inner = `${path}/${escaped(key)}`;
      if (key in before) yield* differences(before[key], value, inner);
      else yield { op: "add", path: inner, value };
    }
  } else if (Array.isArray(before) && Array.isArray(after) && before.length === after.length) {
    for (const [index, value] of after.entries())
      yield* differences(before[index], value, `${path}/${index}`);
  } else yield { op: "replace", path, value: after };
}

function escaped(key: string): string {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}
