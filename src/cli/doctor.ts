import type { Command } from "commander";
import type { Finding } from "../argo/mod.ts";
import { clusterOptions, openCluster, type ClusterFlags } from "./cluster.ts";
import { interrupted } from "./interrupt.ts";
import { paintFor } from "./style.ts";
import { escaped, printable } from "./text.ts";

interface Options extends ClusterFlags {
  readonly namespace?: string;
  readonly argoNamespace?: string;
  readonly probe?: string;
  readonly json?: boolean;
}

/** `atalanta doctor` */
export function addDoctor(program: Command): void {
  clusterOptions(program.command("doctor"))
    .description(
      "Find what keeps Wasm steps from running, or makes them slow, on a cluster with Argo",
    )
    .option("-n, --namespace <name>", "where workflows run; default: that of the context")
    .option(
      "--argo-namespace <name>",
      "where the workflow controller is; default: it is looked for",
    )
    .option("--probe <image>", "run a workflow of one step with this module, and measure it")
    .option("--json", "each finding as a line of JSON")
    .addHelpText(
      "after",
      `
Nothing is changed, but that --probe makes a workflow and removes it.

Examples:
  atalanta doctor -n argo
  atalanta doctor --probe ghcr.io/acme/hello:1 --json

Exit codes: 0 steps can run, 1 something keeps them from it, 2 the cluster cannot be asked.`,
    )
    .action(async (options: Options) => {
      const { diagnose } = await import("../argo/mod.ts");
      await using cluster = await openCluster(options);
      const findings = diagnose({
        cluster,
        namespace: options.namespace ?? cluster.namespace,
        ...(options.argoNamespace === undefined ? {} : { argoNamespace: options.argoNamespace }),
        ...(options.probe === undefined ? {} : { probe: options.probe }),
        signal: interrupted,
      });
      for await (const finding of findings) {
        print(finding, options.json ?? false);
        if (finding.level === "bad") process.exitCode = 1;
      }
    });
}

const colours = {
  ok: "green",
  slow: "yellow",
  warn: "yellow",
  bad: "red",
  unknown: "dim",
} as const;

function print(finding: Finding, json: boolean): void {
  if (json) {
    process.stdout.write(`${escaped(JSON.stringify(finding))}\n`);
    return;
  }
  const { check, level, message, fix } = finding;
  const word = paintFor(process.stdout)(colours[level], level.padEnd(7));
  process.stdout.write(`${word} ${check}: ${printable(message)}\n`);
  if (fix !== undefined) process.stdout.write(`        fix: ${printable(fix)}\n`);
}
