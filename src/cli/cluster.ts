import type { Command } from "commander";
import type { Cluster } from "../kubernetes/mod.ts";

/** Which cluster a command is for. */
export interface ClusterFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
}

export function clusterOptions(command: Command): Command {
  return command
    .option("--kubeconfig <file>", "default: KUBECONFIG, the pod that this runs in, ~/.kube/config")
    .option("--context <name>", "of the kubeconfig");
}

export async function openCluster({ kubeconfig, context }: ClusterFlags): Promise<Cluster> {
  const { clusterFrom } = await import("../kubernetes/mod.ts");
  return clusterFrom({
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
    environment: process.env,
  });
}
