import { resolve } from "node:path";
import type { Command } from "commander";
import { createPerformer, typesOf } from "../functions/mod.ts";
import { createRunners } from "../runner/mod.ts";
import { defaultLimits } from "../limits/mod.ts";
import type { Images } from "../oci/mod.ts";
import { readOperatorFile } from "./configuration.ts";
import { isImage, openUserImages, registryOptions, type RegistryFlags } from "./images.ts";
import { interrupted } from "./interrupt.ts";

/** `atalanta types MODULE` */
export function addTypes(program: Command): void {
  registryOptions(program.command("types"))
    .description("Write TypeScript types of a module's functions")
    .argument("<module>", "a .wasm file or an image")
    .addHelpText(
      "after",
      "\nExamples:\n  atalanta types greet.wasm > greet.d.ts\n  atalanta types ghcr.io/acme/resize:1 > resize.d.ts",
    )
    .action(async (module: string, options: RegistryFlags) => {
      await using runners = createRunners({ threads: 1, spares: 0 });
      let opened: Promise<Images> | undefined;
      await using performer = createPerformer({
        runners,
        checkFile: () => undefined,
        images: async () =>
          (opened ??= openUserImages(await readOperatorFile(options.config), {
            limits: defaultLimits,
            allowAddresses: options.allowAddress,
          })),
      });
      const asked = isImage(module) ? { image: module } : { path: resolve(module) };
      const description = await performer.describe(
        { owner: "local", program: { module: asked, limits: {} } },
        { signal: interrupted },
      );
      process.stdout.write(typesOf(description, module));
      await (await opened)?.[Symbol.asyncDispose]();
    });
}
