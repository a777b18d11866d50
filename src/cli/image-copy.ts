import type { Command } from "commander";
import { bytes } from "./format.ts";
import { openUserRegistry, registryOptions, type RegistryFlags } from "./images.ts";
import { interrupted } from "./interrupt.ts";
import { escaped } from "./text.ts";

interface Options extends RegistryFlags {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** `atalanta image copy SOURCE TARGET` */
export function addImageCopy(image: Command): void {
  const command = image
    .command("copy")
    .description("Bring an image from one registry or name to another")
    .argument("<source>", "such as ghcr.io/acme/step:1.2")
    .argument("<target>", "such as registry.example.com/step:1.2");
  registryOptions(command)
    .option("-q, --quiet", "only the reference with its digest")
    .option("--json", "one line of JSON")
    .addHelpText(
      "after",
      `
The image stays what it is, and so its digest: with all platforms of an index, its signatures and its attestations.

Example:
  atalanta image copy ghcr.io/acme/step:1.2 ghcr.io/acme/copies/step:1.2`,
    )
    .action(async (source: string, target: string, options: Options) => {
      const { copyImage, formatReference, parseReference } = await import("../oci/mod.ts");
      const from = parseReference(source);
      const to = parseReference(target);
      await using registry = await openUserRegistry(options);
      const show = !options.json && !options.quiet;
      const digest = await copyImage(
        registry,
        { from, to },
        {
          signal: interrupted,
          onPart: ({ digest: part, size, how }) => {
            if (show) process.stderr.write(`${part.slice(0, 19)}  ${bytes(size)}  ${how}\n`);
          },
        },
      );
      const copied = formatReference({ ...to, digest });
      process.stdout.write(
        `${options.json ? escaped(JSON.stringify({ reference: copied, digest })) : copied}\n`,
      );
    });
}
