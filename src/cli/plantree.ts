import type { Plan, PlanNode } from "./graph.ts";
import type { Paint } from "./style.ts";
import { oneLine } from "./text.ts";

interface Look {
  readonly paint: Paint;
  /** Name of the program that runs containers; absent when there is none here. */
  readonly runtime: string | undefined;
}

/** The plan as lines: steps below one another follow each other, those hanging on a `┬` run together. */
export function planLines(plan: Plan, look: Look): string[] {
  const { paint } = look;
  const lines = [`${paint("bold", plan.name)}  entrypoint ${plan.entrypoint}`];
  for (const { name, value } of plan.parameters) {
    const shown = value === undefined ? `needed: -p ${name}=VALUE` : oneLine(value);
    lines.push(`  parameter ${name}  ${paint("dim", shown)}`);
  }
  for (const { name, needed } of plan.artifacts) {
    const shown = needed ? `needed: -a ${name}=PATH` : `or yours: -a ${name}=PATH`;
    lines.push(`  artifact ${name}  ${paint("dim", shown)}`);
  }
  for (const note of plan.notes) lines.push(`  ${note}`);
  lines.push("");
  draw({ node: plan.root, label: "", lead: " ", below: " " }, look, lines);
  for (const { on, node } of plan.hooks) {
    lines.push("");
    draw({ node, label: `on ${on}`, lead: " ", below: " " }, look, lines);
  }
  return lines;
}

interface Drawn {
  readonly node: PlanNode;
  readonly label: string;
  readonly lead: string;
  readonly below: string;
}

function draw({ node, label, lead, below }: Drawn, look: Look, lines: string[]): void {
  const { paint } = look;
  const loop = node.loop === undefined ? "" : ` ${paint("yellow", oneLine(node.loop))}`;
  const template = node.template === node.name ? "" : ` → ${oneLine(node.template)}`;
  // A hook is known by when it runs; what it is called in the text says no more.
  const name = label === "" ? paint("bold", oneLine(node.name)) : paint("dim", label);
  lines.push(`${lead}${name}${template}${loop}  ${what(node, look)}`);

  const groups: (readonly { readonly label: string; readonly node: PlanNode }[])[] =
    node.kind === "dag"
      ? (node.groups[0] ?? []).map((member) => [{ label: "", node: member }])
      : node.groups.map((group) => group.map((member) => ({ label: "", node: member })));
  for (const hook of node.hooks)
    groups.push([{ label: `on ${oneLine(hook.on)}`, node: hook.node }]);

  const bar = groups.length > 0 ? "│ " : "  ";
  for (const note of details(node)) lines.push(`${below}${bar}${paint("dim", oneLine(note))}`);

  for (const [at, group] of groups.entries()) {
    const lastGroup = at === groups.length - 1;
    for (const [index, member] of group.entries()) {
      const last = index === group.length - 1;
      const outer = index > 0 ? (lastGroup ? "  " : "│ ") : lastGroup ? "└─" : "├─";
      const inner = group.length === 1 ? "" : index === 0 ? "┬─" : last ? "└─" : "├─";
      const rest = group.length === 1 ? "" : last ? "  " : "│ ";
      draw(
        {
          ...member,
          lead: `${below}${outer}${inner} `,
          below: `${below}${lastGroup ? "  " : "│ "}${rest} `,
        },
        look,
        lines,
      );
    }
  }
}

function what(node: PlanNode, { paint, runtime }: Look): string {
  const program = paint("cyan", oneLine(node.program ?? ""));
  switch (node.kind) {
    case "wasm":
      return `wasm ${program}`;
    case "container":
    case "script":
      return `${node.kind} ${program} ${
        runtime === undefined
          ? paint("red", "(no docker, podman or nerdctl here to run it)")
          : paint("dim", `(${runtime})`)
      }`;
    case "circle":
      return paint("yellow", `back to ${node.template}`);
    case "cut":
      return paint("dim", "… not shown, the graph is too large");
    case "steps":
    case "dag":
    case "suspend":
      return paint("dim", node.kind);
  }
}

function details(node: PlanNode): string[] {
  const lines: string[] = [];
  if (node.depends !== undefined) lines.push(`after ${node.depends}`);
  else if (node.after.length > 0) {
    lines.push(`after ${node.after.map(({ id }) => id.slice(id.lastIndexOf("/") + 1)).join(", ")}`);
  }
  if (node.when !== undefined) lines.push(`when ${node.when}`);
  if (node.notes.length > 0) lines.push(node.notes.join(" · "));
  return lines;
}
