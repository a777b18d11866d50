import { join, resolve } from "node:path";
import { rootCertificates } from "node:tls";
import { openArtifactStore, type ArtifactStore } from "../artifacts/mod.ts";
import { createLocalDispatcher, type Dispatcher } from "../dispatch/mod.ts";
import { Failure } from "../errors/mod.ts";
import { createPerformer, type Performer } from "../functions/mod.ts";
import type { Limits } from "../limits/mod.ts";
import { createGate } from "../network/mod.ts";
import type { Images } from "../oci/mod.ts";
import { createRunners, parseTrust, strongest } from "../runner/mod.ts";
import { createTaskRunner, type TaskRunner } from "../task/mod.ts";
import type { RunWorkflowOptions } from "../workflow/mod.ts";
import { readConfiguration } from "./configuration.ts";
import { openDepot } from "./depot.ts";
import { homeFolder } from "./home.ts";
import { openUserImages } from "./images.ts";
import { limitsOfHost } from "./limits.ts";
import { pair } from "./options.ts";

export interface FunctionsSession {
  readonly performer: Performer;
  readonly isLocal: (image: string) => boolean;
  /** Runs steps of workflows with the same runners. */
  readonly openTasks: () => Promise<{
    readonly artifacts: ArtifactStore;
    readonly dispatcher: Dispatcher;
    readonly runner: TaskRunner;
  }>;
  readonly resolveImage: NonNullable<RunWorkflowOptions["resolveImage"]>;
  readonly limits: Limits;
}

/** What this process runs functions with: images and files for them, limits, and the hosts that they may reach. */
export async function openFunctions(
  options: {
    readonly image: readonly string[];
    readonly allowHost: readonly string[];
    readonly allowAddress: readonly string[];
    readonly limit: readonly string[];
    readonly config?: string;
    readonly trust?: string;
    /** Whether others than this machine's user say what is run. */
    readonly strangers?: boolean;
  },
  stack: AsyncDisposableStack,
): Promise<FunctionsSession> {
  const configuration = await readConfiguration(process.cwd(), options.config);
  const { operator } = configuration;
  const limits = limitsOfHost(options.limit, operator.limits);
  const { permissions, authorities } = operator;
  const gate = createGate({
    secrets: operator.secrets,
    permissions: {
      allowedHosts: [...permissions.allowedHosts, ...options.allowHost],
      allowedAddresses: [...(permissions.allowedAddresses ?? []), ...options.allowAddress],
    },
    ...(authorities.length === 0 ? {} : { authorities: [...rootCertificates, ...authorities] }),
  });
  const overrides = new Map([
    ...configuration.images,
    ...options.image.map((text): [string, string] => {
      const [name, file] = pair("--image", text);
      return [name, resolve(file)];
    }),
  ]);
  const runners = stack.use(createRunners());
  const trust = strongest(
    configuration.trust,
    options.trust === undefined ? undefined : parseTrust(options.trust, "--trust"),
  );
  runners.prepare(trust);
  let opened: Promise<Images> | undefined;
  stack.defer(async () => (await opened?.catch(() => undefined))?.[Symbol.asyncDispose]());
  const images = (): Promise<Images> =>
    (opened ??= openUserImages(operator, {
      loopback: options.strangers !== true,
      limits,
      allowAddresses: options.allowAddress,
    }));
  const performer = stack.use(
    createPerformer({ runners, trust, images, overrides, hostLimits: limits, gate }),
  );
  return {
    performer,
    limits,
    isLocal: (image) => overrides.has(image),
    resolveImage: async (image, how) =>
      overrides.has(image) ? undefined : (await images()).resolve(image, how),
    async openTasks() {
      const artifacts = await openArtifactStore({ folder: join(homeFolder(), "artifacts") });
      const depot = stack.use(
        openDepot({ artifacts, operator, allowAddresses: options.allowAddress }),
      );
      const runner = createTaskRunner({
        runners,
        trust,
        artifacts,
        overrides,
        // Who submits a workflow is not who owns this disk.
        checkFile: (path) => {
          throw new Failure(
            "module-not-found",
            `"${path}" is a file of the server's, and a step here names an image`,
            {
              hint: "Push the module to a registry (atalanta image push), and write image: instead of module:.",
            },
          );
        },
        images,
        gate,
        depot,
        limits,
      });
      return {
        artifacts,
        runner,
        dispatcher: stack.use(createLocalDispatcher({ runner, capacity: 64 })),
      };
    },
  };
}
