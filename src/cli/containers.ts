import type { ContainerRuntime, NoContainerRuntime } from "../container/mod.ts";
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

/** Looks for docker, podman or nerdctl, or what `ATALANTA_CONTAINER_RUNTIME` names. */
export async function detectRuntime(): Promise<ContainerRuntime | NoContainerRuntime> {
  const { detectContainerRuntime } = await import("../container/mod.ts");
  const wanted = process.env["ATALANTA_CONTAINER_RUNTIME"];
  return detectContainerRuntime(wanted ? { wanted } : {});
}
