import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { openArtifactStore, type ArtifactStore } from "../artifacts/mod.ts";
import type { NatsOptions } from "../broker/mod.ts";
import { createLocalDispatcher, type Dispatcher } from "../dispatch/mod.ts";
import type { Bundle } from "../document/mod.ts";
import { createGate } from "../network/mod.ts";
import type { Images } from "../oci/mod.ts";
import { createRunners, strongest, type Runners, type Trust } from "../runner/mod.ts";
import type { RunWorkflowOptions } from "../workflow/mod.ts";
import { createTaskRunner, type ContainerRunner, type Depot } from "../task/mod.ts";
import { readConfiguration } from "./configuration.ts";
import { detectRuntime, needsContainers } from "./containers.ts";
import { openDepot } from "./depot.ts";
import { homeFolder } from "./home.ts";
import { openUserImages } from "./images.ts";
import { checkContainers, checkFile } from "./policy.ts";
import { limitsOfHost } from "./limits.ts";
import type { Operator } from "./operator.ts";
import { pair } from "./options.ts";

/** What this process runs steps with. */
export interface Session extends AsyncDisposable {
  readonly artifacts: ArtifactStore;
  readonly dispatcher: Dispatcher;
  /** The digest that an image has now; undefined where a file stands for it. */
  readonly resolveImage: NonNullable<RunWorkflowOptions["resolveImage"]>;
  readonly depot: Depot;
  readonly operator: Operator;
}

/**
 * Makes ready what the steps of a workflow need: modules for its images, threads, and a container runtime where it has container steps.
 * Throws before anything has begun when one of them is not here.
 */
export async function openSession(options: {
  readonly bundle: Bundle;
  /** `REFERENCE=FILE`, each; before what `atalanta.yaml` says. */
  readonly images: readonly string[];
  /** What the operator says on the command line. */
  readonly allowHosts?: readonly string[];
  readonly allowAddresses?: readonly string[];
  /** The least trust class of every step. */
  readonly trust?: Trust;
  /** The operator's own configuration. */
  readonly config?: string;
  /** `KEY=VALUE`, each. */
  readonly limits: readonly string[];
  /** Steps that run at once; default 8, on as many threads as there are processors. */
  readonly maxParallel?: number;
  /** As the journal's: what it says is stored must be on the disk when it is. */
  readonly durability?: "normal" | "full";
  /** A broker whose runners run the steps; absent: this process does. */
  readonly nats?: NatsOptions;
}): Promise<Session> {
  const { bundle, maxParallel, durability } = options;
  const configuration = await readConfiguration(bundle.folder, options.config);
  const { policy } = configuration.operator;
  for (const file of configuration.foreignFiles) checkFile(policy, file);
  const { permissions, secrets, authorities } = configuration.operator;
  const gate = createGate({
    permissions: {
      allowedHosts: [...permissions.allowedHosts, ...(options.allowHosts ?? [])],
      allowedAddresses: [
        ...(permissions.allowedAddresses ?? []),
        ...(options.allowAddresses ?? []),
      ],
    },
    secrets,
    ...(authorities.length === 0 ? {} : { authorities: [...rootCertificates, ...authorities] }),
  });
  const overrides = new Map([
    ...configuration.images,
    ...options.images.map((text) => pair("--image", text)),
  ]);
  const limits = limitsOfHost(options.limits, configuration.operator.limits);
  await using stack = new AsyncDisposableStack();
  const withContainers = await needsContainers(bundle);
  if (withContainers) checkContainers(policy);
  const containers = withContainers ? stack.use(await containerRunner()) : undefined;
  const artifacts = await openArtifactStore({
    folder: join(homeFolder(), "artifacts"),
    ...(durability === undefined ? {} : { durability }),
  });
  let opened: Promise<Images> | undefined;
  const images = (): Promise<Images> =>
    (opened ??= openUserImages(configuration.operator, {
      limits,
      ...(options.allowAddresses ? { allowAddresses: options.allowAddresses } : {}),
    }));
  // Whoever asked for it was told why it could not be opened.
  stack.defer(async () => (await opened?.catch(() => undefined))?.[Symbol.asyncDispose]());
  // Beside the artifacts: what a guest leaves is stored by a second name instead of a copy.
  const runners = createRunners({ stagingFolder: await artifacts.stagingFolder() });
  const depot = stack.use(
    openDepot({
      artifacts,
      operator: configuration.operator,
      ...(options.allowAddresses ? { allowAddresses: options.allowAddresses } : {}),
    }),
  );
  const trust = strongest(configuration.trust, options.trust);
  const runner = stack.use(
    createTaskRunner({
      runners,
      trust,
      artifacts,
      overrides,
      checkFile: (file) => checkFile(policy, file),
      images,
      gate,
      depot,
      limits,
      ...(containers ? { containers } : {}),
    }),
  );
  makeReady(runners, trust, bundle);
  const local = stack.use(
    createLocalDispatcher({
      runner,
      ...(maxParallel === undefined ? {} : { capacity: maxParallel }),
    }),
  );
  const dispatcher = options.nats
    ? await remote(options.nats, { local, artifacts, maxParallel }, stack)
    : local;
  const kept = stack.move();
  const resolveImage: Session["resolveImage"] = async (image, how) =>
    overrides.has(image) ? undefined : (await images()).resolve(image, how);
  const { operator } = configuration;
  return {
    artifacts,
    dispatcher,
    depot,
    operator,
    resolveImage,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Processes take a moment to start; and a class that cannot be had is better known before anything has run. */
function makeReady(runners: Runners, trust: Trust, bundle: Bundle): void {
  const templates = bundle.workflow.spec.templates ?? [];
  for (const asked of [trust, ...templates.map(({ wasm }) => wasm?.trust)]) {
    if (asked === "pod") runners.engine({ trust: asked, owner: "" });
    if (asked === "process") runners.prepare(asked);
  }
}

/** Steps run on the runners of a broker. */
async function remote(
  nats: NatsOptions,
  given: {
    readonly local: Dispatcher;
    readonly artifacts: ArtifactStore;
    readonly maxParallel: number | undefined;
  },
  stack: AsyncDisposableStack,
): Promise<Dispatcher> {
  const { createRemoteTasks, NatsCalls, openBroker } = await import("../broker/mod.ts");
  const broker = stack.use(await openBroker(nats));
  const calls = stack.use(new NatsCalls({ broker }));
  const { local, artifacts, maxParallel: capacity } = given;
  return createRemoteTasks({
    broker,
    calls,
    local,
    artifacts,
    ...(capacity === undefined ? {} : { capacity }),
  });
}

async function containerRunner(): Promise<ContainerRunner & AsyncDisposable> {
  const runtime = await detectRuntime();
  const { createContainerRunner, noContainerRuntime } = await import("../container/mod.ts");
  if ("missing" in runtime) throw noContainerRuntime(runtime);
  return createContainerRunner({ runtime });
}
