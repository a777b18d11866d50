import type { Plan, PlanNode } from "./graph.ts";
import { printable } from "./text.ts";

/** Above so many edges between two groups of steps, they meet in a point between them. */
const crossEdges = 12;
const labelLength = 60;

/** The plan as a Mermaid flowchart. */
export function mermaid(plan: Plan): string {
  const drawing = new Drawing();
  drawing.node(plan.root, "  ");
  for (const hook of plan.hooks) {
    const id = drawing.node(hook.node, "  ");
    drawing.edge(`${drawing.idOf(plan.root)} -. ${quoted(`on ${hook.on}`)} .-> ${id}`);
  }
  return `${drawing.text()}\n`;
}

class Drawing {
  readonly #lines = ["flowchart TD"];
  readonly #edges: string[] = [];
  /** Names of steps may be anything; ids in the drawing are `n1`, `n2` … */
  readonly #ids = new Map<PlanNode, string>();
  #count = 0;
  #containers: string[] = [];

  text(): string {
    const classes =
      this.#containers.length === 0
        ? []
        : [
            "  classDef container stroke-dasharray: 5 3",
            `  class ${this.#containers.join(",")} container`,
          ];
    return [...this.#lines, ...this.#edges.map((edge) => `  ${edge}`), ...classes].join("\n");
  }

  idOf(node: PlanNode): string {
    return this.#ids.get(node) ?? "";
  }

  edge(text: string): void {
    this.#edges.push(text);
  }

  node(node: PlanNode, indent: string): string {
    const id = `n${++this.#count}`;
    this.#ids.set(node, id);
    const label = labelOf(node);
    const members = node.groups.flat();
    if (members.length === 0) {
      this.#lines.push(`${indent}${id}${shaped(node, label)}`);
      if (node.kind === "container" || node.kind === "script") this.#containers.push(id);
    } else {
      this.#lines.push(`${indent}subgraph ${id}[${label}]`);
      for (const member of members) this.node(member, `${indent}  `);
      this.#lines.push(`${indent}end`);
      this.#between(node);
    }
    for (const hook of node.hooks) {
      const target = this.node(hook.node, indent);
      this.edge(`${id} -. ${quoted(`on ${hook.on}`)} .-> ${target}`);
    }
    return id;
  }

  #between({ kind, groups }: PlanNode): void {
    if (kind === "dag") {
      const tasks = groups.flat();
      const byId = new Map(tasks.map((task) => [task.id, this.idOf(task)]));
      for (const task of tasks) {
        for (const { id, how } of task.after) {
          const from = byId.get(id);
          if (from === undefined) continue;
          const arrow = how === undefined ? "-->" : `-->|${quoted(how)}|`;
          this.edge(`${from} ${arrow} ${this.idOf(task)}`);
        }
      }
      return;
    }
    for (const [at, group] of groups.entries()) {
      const next = groups[at + 1];
      if (!next) return;
      const from = group.map((member) => this.idOf(member)).join(" & ");
      const to = next.map((member) => this.idOf(member)).join(" & ");
      if (group.length * next.length <= crossEdges) this.edge(`${from} --> ${to}`);
      else {
        const point = `n${++this.#count}`;
        this.edge(`${from} --> ${point}((" "))`);
        this.edge(`${point} --> ${to}`);
      }
    }
  }
}

/** Brackets say what it is: a box is a step, a double one a loop, a stadium waits, a circle leads back. */
function shaped(node: PlanNode, label: string): string {
  if (node.kind === "circle") return `((${label}))`;
  if (node.kind === "suspend") return `([${label}])`;
  return node.loop === undefined ? `[${label}]` : `[[${label}]]`;
}

function labelOf(node: PlanNode): string {
  const lines = [node.loop === undefined ? node.name : `${node.name} ${node.loop}`];
  if (node.program !== undefined) lines.push(`${node.kind} ${node.program}`);
  else if (node.kind === "circle") lines.push(`back to ${node.template}`);
  else if (node.kind === "cut") lines.push("… not shown");
  else lines.push(node.kind);
  if (node.depends !== undefined && /[!|(]/.test(node.depends)) lines.push(`after ${node.depends}`);
  if (node.when !== undefined) lines.push(`when ${node.when}`);
  lines.push(...node.notes);
  return quoted(...lines);
}

/**
 * A label in quotes. Mermaid knows only its own entities, `#` with a name or number and `;`; of what is left, quotes end the
 * label, `<` begins HTML, a backtick Markdown, and `{{` or `%%` can be taken for a shape or a comment by older versions.
 */
function quoted(...lines: readonly string[]): string {
  const safe = lines.map((line) => {
    const flat = printable(line).replace(/\s+/g, " ").trim();
    const short = flat.length > labelLength ? `${flat.slice(0, labelLength - 1)}…` : flat;
    return short.replace(
      /[^\p{L}\p{N} ,./:=+×…_()'?!-]/gu,
      (character) => `#${character.codePointAt(0)};`,
    );
  });
  return `"${safe.join("<br/>")}"`;
}
