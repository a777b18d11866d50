import type { ContainerRuntime, NoContainerRuntime } from "../container/mod.ts";
import type { Bundle, Template } from "../document/mod.ts";
import type { Plan, PlanNode } from "./graph.ts";

/** Whether anything that the plan shows is a container step. */
export function hasContainers({ root, hooks }: Pick<Plan, "root" | "hooks">): boolean {
  return isContainer(root) || hooks.some(({ node }) => isContainer(node));
}

function isContainer(node: PlanNode): boolean {
  return (
    node.kind === "container" ||
    node.kind === "script" ||
    node.groups.flat().some(isContainer) ||
    node.hooks.some((hook) => isContainer(hook.node))
  );
}

/** Whether a run of the workflow may come to a container step. */
export async function needsContainers(bundle: Bundle): Promise<boolean> {
  const specs = [bundle.workflow.spec, ...Object.values(bundle.library).map(({ spec }) => spec)];
  const templates = specs.flatMap((spec) => spec.templates ?? []);
  // Most workflows have none at all, and then the graph needs no look; a library may have some that this one never calls.
  if (!templates.some(mayHoldContainer)) return false;
  const { planOf } = await import("./graph.ts");
  return hasContainers(planOf(bundle));
}

function mayHoldContainer(template: Omit<Template, "name">): boolean {
  const steps = [...(template.steps ?? []).flat(), ...(template.dag?.tasks ?? [])];
  return (
    template.container !== undefined ||
    template.script !== undefined ||
    steps.some(({ inline }) => inline !== undefined && mayHoldContainer(inline))
  );
}

/** Looks for docker, podman or nerdctl, or what `ATALANTA_CONTAINER_RUNTIME` names. */
export async function detectRuntime(): Promise<ContainerRuntime | NoContainerRuntime> {
  const { detectContainerRuntime } = await import("../container/mod.ts");
  const wanted = process.env["ATALANTA_CONTAINER_RUNTIME"];
  return detectContainerRuntime(wanted ? { wanted } : {});
}
