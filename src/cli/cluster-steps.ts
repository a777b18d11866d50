import { mkdir, readdir, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import type { Command } from "commander";
import type { Cluster } from "../kubernetes/mod.ts";
import type { NodeResult, Step, StepExecutor, StepTraces, WasmSteps } from "../argo/mod.ts";
import { Failure } from "../errors/mod.ts";
import { parseBytes, parseDurationMs } from "../limits/mod.ts";
import { loopbackAddresses, privateAddresses } from "../network/mod.ts";
import { parseTrust } from "../runner/mod.ts";
import { openTracing } from "../telemetry/mod.ts";
import { levels, type AgentLog, type Level } from "./agent-log.ts";
import { clusterOptions, openCluster, type ClusterFlags } from "./cluster.ts";
import { readOperatorFile } from "./configuration.ts";
import { homeFolder } from "./home.ts";
import { toldToEnd } from "./interrupt.ts";
import { limitsOfHost } from "./limits.ts";
import { collect, configHelp, limitHelp, oneOf, positive } from "./options.ts";
import { packageVersion } from "./version.ts";

/** Of every command that executes steps of a cluster. */
export interface StepOptions extends ClusterFlags {
  readonly authority: "service-account" | "agent";
  readonly trust: string;
  readonly config?: string;
  readonly limit: readonly string[];
  readonly storeAddress: readonly string[];
  readonly maxNamespaceCpus?: number;
  readonly maxNamespaceMemory?: string;
  readonly drain: string;
  readonly logLevel: Level;
}

/** Where clusters have their services. What is local to a machine or a link is not in it. */
const clusterAddresses = privateAddresses.filter((range) => !loopbackAddresses.includes(range));

export function stepOptions(command: Command): Command {
  return clusterOptions(command)
    .option(
      "--authority <whose>",
      "who reads the secrets of steps: service-account (of the workflow, by a token that is asked for) or agent",
      oneOf("service-account", "agent"),
      "service-account",
    )
    .option("--trust <class>", "the least trust class of every step", "process")
    .option("--config <file>", configHelp)
    .option("--limit <key=value>", limitHelp, collect, [])
    .option(
      "--store-address <range>",
      "addresses where stores of artifacts and the hosts of http templates may be, beside public ones (repeatable; default: private networks)",
      collect,
      [],
    )
    .option(
      "--max-namespace-cpus <number>",
      "processors that the modules of one namespace compute on at once (default: all)",
      positive("--max-namespace-cpus"),
    )
    .option(
      "--max-namespace-memory <size>",
      "memory of the process that runs the modules of one namespace (default: half of what there is)",
    )
    .option("--drain <duration>", "how long steps may go on after SIGTERM", "25s")
    .option("--log-level <level>", levels.join(", "), oneOf(...levels), "info");
}

/** For artifacts on their way; what agents left behind that are dead is removed. */
async function ownFolder(): Promise<string> {
  const all = join(homeFolder(), "agent");
  await mkdir(all, { recursive: true, mode: 0o700 });
  for (const name of await readdir(all)) {
    const [, pid] = /^run-(\d+)$/.exec(name) ?? [];
    if (pid !== undefined && !isAlive(Number(pid)))
      await rm(join(all, name), { recursive: true, force: true });
  }
  return join(all, `run-${process.pid}`);
}

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown && thrown.code === "EPERM";
  }
}

/** Serves until the process is told to end, and lets what runs end then. */
export async function serveSteps(
  drainMs: number,
  work: { readonly ending?: () => void; readonly drain: (signal: AbortSignal) => Promise<void> },
): Promise<void> {
  await toldToEnd();
  work.ending?.();
  await work.drain(AbortSignal.timeout(drainMs));
}

/** How a step that ended is logged. */
export function logEnded(
  log: AgentLog,
  { workflow, nodeId }: Step,
  { phase, message }: NodeResult,
  more: Readonly<Record<string, unknown>> = {},
): void {
  log.write(phase === "Succeeded" ? "debug" : "info", `Step ${phase}`, {
    namespace: workflow.namespace,
    workflow: workflow.name,
    node: nodeId,
    ...(message === undefined ? {} : { message }),
    ...more,
  });
}

/** A runner process does not start with less. */
const leastMemory = "256Mi";

function memoryOf(text: string): number {
  const bytes = parseBytes(text);
  if (bytes >= parseBytes(leastMemory)) return bytes;
  throw new Failure(
    "invalid-argument",
    `--max-namespace-memory "${text}" is less than ${leastMemory}`,
  );
}

/** What executes steps of a cluster: modules, and http templates. */
export async function openSteps(
  options: StepOptions,
  {
    log,
    stack,
    onCollectable,
  }: {
    readonly log: AgentLog;
    readonly stack: AsyncDisposableStack;
    /** Before a result is handed over that names artifacts which are to be deleted some day. */
    readonly onCollectable?: (workflow: Step["workflow"]) => Promise<void>;
  },
): Promise<{
  readonly cluster: Cluster;
  readonly wasm: WasmSteps;
  readonly http: StepExecutor;
  /** Undefined where nobody traces. */
  readonly traces: StepTraces | undefined;
  readonly drainMs: number;
}> {
  const drainMs = parseDurationMs(options.drain);
  const operator = await readOperatorFile(options.config);
  const argo = await import("../argo/mod.ts");
  const { dockerCredentials, imagePolicy } = await import("../oci/mod.ts");
  const { createRunners } = await import("../runner/mod.ts");
  const tracing = await openTracing({
    environment: process.env,
    serviceName: "atalanta",
    version: packageVersion(),
    onTrouble: (reason) => log.write("warn", "Traces cannot be sent", { reason }),
  });
  if (tracing) stack.use(tracing);
  const traces = tracing && new argo.StepTraces(tracing);
  const cluster = stack.use(await openCluster(options));
  const folder = await ownFolder();
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const runners = stack.use(
    createRunners({
      stagingFolder: join(folder, "staging"),
      ...(options.maxNamespaceCpus === undefined ? {} : { threads: options.maxNamespaceCpus }),
      ...(options.maxNamespaceMemory === undefined
        ? {}
        : { processBytes: memoryOf(options.maxNamespaceMemory) }),
    }),
  );
  const trust = parseTrust(options.trust, "--trust");
  if (trust === "process") runners.prepare(trust);
  for (const weakness of trust === "process" ? await runners.weaknesses() : []) {
    log.write("warn", "The class process lacks a wall here", { weakness });
  }
  const authorities =
    operator.authorities.length === 0 ? [] : [...rootCertificates, ...operator.authorities];
  const storeAddresses = options.storeAddress.length > 0 ? options.storeAddress : clusterAddresses;
  const wasm = stack.use(
    await argo.createWasmSteps({
      reader: argo.clusterReader(cluster, options.authority),
      runners,
      folder,
      imagesFolder: join(homeFolder(), "agent", "images"),
      trust,
      limits: limitsOfHost(options.limit, operator.limits),
      permissions: operator.permissions,
      storeAddresses,
      ...(authorities.length === 0 ? {} : { authorities }),
      registry: {
        credentials: dockerCredentials({ environment: process.env, home: homedir() }),
        environment: process.env,
        registries: operator.registries,
        allowedAddresses: operator.permissions.allowedAddresses ?? [],
      },
      ...(operator.policy ? { policy: imagePolicy(operator.policy) } : {}),
      ...(operator.imageCacheBytes === undefined
        ? {}
        : { imageCacheBytes: operator.imageCacheBytes }),
      environment: process.env,
      ...(onCollectable ? { onCollectable } : {}),
      ...(traces ? { traces } : {}),
    }),
  );
  const http = argo.createHttpSteps({
    allowedAddresses: [...storeAddresses, ...(operator.permissions.allowedAddresses ?? [])],
    secret: (step, name, key) => wasm.secret(step, name, key),
    ...(authorities.length === 0 ? {} : { authorities }),
  });
  return { cluster, wasm, http, traces, drainMs };
}
