import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { defaultLimits, type Limits } from "../limits/mod.ts";
import type { Images } from "../oci/mod.ts";
import { homeFolder } from "./home.ts";
import { nobody, type Operator } from "./operator.ts";

/** Where the user's images are kept. */
function imagesFolder(): string {
  return join(homeFolder(), "images");
}

/** The user's images, with the logins of docker and podman. Loaded when an image is first wanted: most runs have module files. */
export async function openUserImages(
  { registries, permissions }: Pick<Operator, "registries" | "permissions">,
  options: { readonly limits: Limits; readonly allowAddresses?: readonly string[] },
): Promise<Images> {
  const { dockerCredentials, openImages, openRegistry } = await import("../oci/mod.ts");
  return openImages({
    folder: imagesFolder(),
    limits: options.limits,
    registry: () =>
      openRegistry({
        credentials: dockerCredentials({ environment: process.env, home: homedir() }),
        environment: process.env,
        registries,
        allowedAddresses: [
          ...(permissions.allowedAddresses ?? []),
          ...(options.allowAddresses ?? []),
        ],
        loopback: true,
      }),
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
