import { resolve } from "node:path";
import { rootCertificates } from "node:tls";
import { createPerformer, type Performer } from "../functions/mod.ts";
import { createGate } from "../network/mod.ts";
import type { Images } from "../oci/mod.ts";
import { createRunners, parseTrust, strongest } from "../runner/mod.ts";
import { readConfiguration } from "./configuration.ts";
import { openUserImages } from "./images.ts";
import { limitsOfHost } from "./limits.ts";
import { pair } from "./options.ts";

/** What this process runs functions with: images and files for them, limits, and the hosts that they may reach. */
export async function openFunctions(
  options: {
    readonly image: readonly string[];
    readonly allowHost: readonly string[];
    readonly allowAddress: readonly string[];
    readonly limit: readonly string[];
    readonly config?: string;
    readonly trust?: string;
  },
  stack: AsyncDisposableStack,
): Promise<{ readonly performer: Performer; readonly isLocal: (image: string) => boolean }> {
  const configuration = await readConfiguration(process.cwd(), options.config);
  const { operator } = configuration;
  const limits = limitsOfHost(options.limit, operator.limits);
  const { permissions, authorities } = operator;
  const gate = createGate({
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
    (opened ??= openUserImages(operator, { limits, allowAddresses: options.allowAddress }));
  const performer = stack.use(
    createPerformer({ runners, trust, images, overrides, hostLimits: limits, gate }),
  );
  return { performer, isLocal: (image) => overrides.has(image) };
}
