import type { Command } from "commander";
import { AgentLog, levels, type Level } from "./agent-log.ts";
import { clusterOptions, openCluster, type ClusterFlags } from "./cluster.ts";
import { interrupted, toldToEnd } from "./interrupt.ts";
import { address, collect, oneOf } from "./options.ts";

interface ServeOptions extends ClusterFlags {
  readonly namespace?: string;
  readonly name: string;
  readonly dnsName: readonly string[];
  readonly listen: string;
  readonly definitions: boolean;
  readonly logLevel: Level;
}

/** `atalanta webhook` */
export function addWebhook(program: Command): void {
  const webhook = program
    .command("webhook")
    .description("Let kubectl take the wasm: key: an admission webhook that rewrites it")
    .addHelpText(
      "after",
      `
Examples:
  atalanta webhook allow
  atalanta webhook forget
  atalanta webhook serve -n atalanta`,
    );
  clusterOptions(webhook.command("serve"))
    .description("Serve API servers, with certificates of its own")
    .option("-n, --namespace <name>", "where it keeps its certificates; default: that of the pod")
    .option(
      "--name <name>",
      "of its Service, of the Secret with its certificates and of both webhook configurations",
      "atalanta-webhook",
    )
    .option("--dns-name <name>", "another name under which it is asked (repeatable)", collect, [])
    .option("--listen <address>", "HOST:PORT for API servers", "0.0.0.0:9443")
    .option("--no-definitions", "leave Argo's definitions as they are")
    .option("--log-level <level>", levels.join(", "), oneOf(...levels), "info")
    .addHelpText(
      "after",
      `
The chart installs it with --set webhook.enabled=true.

Examples:
  atalanta webhook serve -n atalanta`,
    )
    .action(serve);
  clusterOptions(webhook.command("allow"))
    .description("Let Argo's definitions keep the wasm: key of templates until the webhook sees it")
    .addHelpText("after", "\nExamples:\n  atalanta webhook allow")
    .action(async (options: ClusterFlags) => {
      const { allowWasmKey } = await import("../argo/mod.ts");
      await using cluster = await openCluster(options);
      print(await allowWasmKey(cluster, { signal: interrupted }), "takes wasm: now");
    });
  clusterOptions(webhook.command("forget"))
    .description("Take that back; what was submitted is not changed by it")
    .addHelpText("after", "\nExamples:\n  atalanta webhook forget")
    .action(async (options: ClusterFlags) => {
      const { forgetWasmKey } = await import("../argo/mod.ts");
      await using cluster = await openCluster(options);
      print(await forgetWasmKey(cluster, { signal: interrupted }), "is as Argo made it");
    });
}

function print(names: readonly string[], what: string): void {
  const lines =
    names.length === 0 ? ["Nothing had to be changed"] : names.map((name) => `${name} ${what}`);
  process.stdout.write(`${lines.join("\n")}\n`);
}

async function serve(options: ServeOptions): Promise<void> {
  const log = new AgentLog(options.logLevel);
  const { createWebhook } = await import("../argo/mod.ts");
  await using cluster = await openCluster(options);
  const { name, namespace = cluster.namespace } = options;
  const { host, port } = address("--listen", options.listen);
  await using webhook = await createWebhook({
    cluster,
    namespace,
    name,
    names: [
      `${name}.${namespace}.svc`,
      `${name}.${namespace}.svc.cluster.local`,
      ...options.dnsName,
    ],
    host,
    port,
    definitions: options.definitions,
    observer: {
      reviewed: (outcome, how, ms) =>
        log.write(outcome === "untouched" ? "debug" : "info", `Review: ${outcome}`, {
          how,
          ms: Math.round(ms * 10) / 10,
        }),
      renewed: () => log.write("info", "Serves with a new certificate"),
      allowed: (names) => log.write("info", "Argo's definitions take wasm: now", { names }),
      trouble: ({ message }) =>
        log.write("warn", "Cannot look after certificates; tries again", { reason: message }),
    },
  });
  log.write("info", "Serves API servers", { port: webhook.port });
  await toldToEnd();
}
