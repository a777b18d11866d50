import type { ArtifactSource } from "../../task/mod.ts";
import type { Plan } from "./plan.ts";
import type { NodeOutputs, RunEvent } from "./types.ts";

/** Notes at nodes, and at the outputs of the run, that the copies in stores are no more. */
export function collected(
  plan: Plan,
  { artifacts }: Extract<RunEvent, { readonly type: "collected" }>,
): void {
  const places = new Set(artifacts.map(({ place }) => JSON.stringify(place)));
  const mark = (source: ArtifactSource): ArtifactSource => {
    const { copy } = source.kind === "stored" ? source : {};
    if (source.kind !== "stored" || !copy || !places.has(JSON.stringify(copy.place))) return source;
    return { ...source, copy: { ...copy, deleted: true } };
  };
  const marked = (outputs: NodeOutputs): NodeOutputs => ({
    ...outputs,
    artifacts: outputs.artifacts.map((item) => ({ ...item, artifact: mark(item.artifact) })),
  });
  for (const node of plan.nodes.values()) {
    if (node.outputs?.artifacts.length) node.outputs = marked(node.outputs);
  }
  const { outputArtifacts } = plan.globals;
  for (const [name, source] of outputArtifacts) outputArtifacts.set(name, mark(source));
}
