import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { defaultLimits, type Limits } from "../limits/mod.ts";
import type { Images, Registry } from "../oci/mod.ts";
import { readOperatorFile } from "./configuration.ts";
import { homeFolder } from "./home.ts";
import { nobody, type Operator } from "./operator.ts";
import { allowAddressHelp, collect, configHelp } from "./options.ts";

/** Where the user's images are kept. */
function imagesFolder(): string {
  return join(homeFolder(), "images");
}

/** The user's images, with the logins of docker and podman. Loaded when an image is first wanted: most runs have module files. */
export async function openUserImages(
  operator: Pick<Operator, "registries" | "permissions" | "policy" | "imageCacheBytes">,
  options: {
    readonly limits: Limits;
    readonly allowAddresses?: readonly string[];
    /** Whether registries of this machine may be asked; not for strangers. Default true. */
    readonly loopback?: boolean;
  },
): Promise<Images> {
  const { imagePolicy, openImages } = await import("../oci/mod.ts");
  return openImages({
    folder: imagesFolder(),
    limits: options.limits,
    ...(operator.imageCacheBytes === undefined ? {} : { mostBytes: operator.imageCacheBytes }),
    ...(operator.policy ? { policy: imagePolicy(operator.policy) } : {}),
    registry: () => registryOf(operator, options.allowAddresses ?? [], options.loopback),
  });
}

/** Registries for a command that has the options of `registryOptions`. */
export async function openUserRegistry(options: RegistryFlags): Promise<Registry> {
  return registryOf(await readOperatorFile(options.config), options.allowAddress);
}

export interface RegistryFlags {
  readonly allowAddress: readonly string[];
  readonly config?: string;
}

/** What every command has that asks registries. */
export function registryOptions(command: Command): Command {
  return command
    .option("--allow-address <range>", allowAddressHelp, collect, [])
    .option("--config <file>", configHelp);
}

async function registryOf(
  { registries, permissions }: Pick<Operator, "registries" | "permissions">,
  allowAddresses: readonly string[],
  loopback = true,
): Promise<Registry> {
  const { dockerCredentials, openRegistry } = await import("../oci/mod.ts");
  return openRegistry({
    credentials: dockerCredentials({ environment: process.env, home: homedir() }),
    environment: process.env,
    registries,
    allowedAddresses: [...(permissions.allowedAddresses ?? []), ...allowAddresses],
    loopback,
  });
}

/** The same for who only looks at what is here, or removes it. */
export async function openKeptImages(): Promise<Images> {
  return openUserImages(nobody, { limits: defaultLimits });
}

/** Whether a word on the command line is an image's reference: it names no file, and does not look like one. */
export function isImage(word: string): boolean {
  return !/\.(?:wasm|wat|ya?ml|json)$|^[.~/]|^-$/.test(word) && !existsSync(word);
}
