import { Option, type Command } from "commander";
import type { PullPolicy } from "../oci/mod.ts";

import { readOperatorFile } from "./configuration.ts";
import { bytes, counted } from "./format.ts";
import { openUserImages } from "./images.ts";
import { interrupted } from "./interrupt.ts";
import { limitsOfHost } from "./limits.ts";
import { allowAddressHelp, collect, configHelp } from "./options.ts";
import { escaped, printable } from "./text.ts";

interface Options {
  readonly pullPolicy?: PullPolicy;
  readonly allowAddress: readonly string[];
  readonly config?: string;
  readonly json?: boolean;
}

/** `atalanta image inspect REFERENCE` */
export function addImageInspect(image: Command): void {
  image
    .command("inspect")
    .description("Show what an image says of its module; pulls it when it is not here")
    .argument("<reference>", "such as ghcr.io/acme/step:1.2")
    .addOption(
      new Option("--pull-policy <policy>", "as imagePullPolicy of a step").choices([
        "Always",
        "IfNotPresent",
        "Never",
      ]),
    )
    .option("--allow-address <range>", allowAddressHelp, collect, [])
    .option("--config <file>", configHelp)
    .option("--json", "one line of JSON")
    .addHelpText(
      "after",
      `
What the module itself could do is shown by: atalanta inspect REFERENCE

Example:
  atalanta image inspect ghcr.io/acme/split-pages:1.2`,
    )
    .action(async (reference: string, options: Options) => {
      const operator = await readOperatorFile(options.config);
      await using images = await openUserImages(operator, {
        limits: limitsOfHost([], operator.limits),
        allowAddresses: options.allowAddress,
      });
      using found = await images.get(reference, {
        signal: interrupted,
        ...(options.pullPolicy ? { pullPolicy: options.pullPolicy } : {}),
      });
      const { digest, packaging, module, entrypoint, command, environment, workingDir } = found;
      const files = found.files?.entries.length ?? 0;
      if (options.json) {
        const said = {
          reference: found.reference,
          digest,
          packaging,
          moduleDigest: module.digest,
          moduleBytes: module.size,
          entrypoint,
          command,
          environment: environment.map(([name, value]) => `${name}=${value}`),
          workingDir,
          files: (found.files?.entries ?? []).map(({ kind, path }) => ({ kind, path: `/${path}` })),
        };
        process.stdout.write(`${escaped(JSON.stringify(said))}\n`);
        return;
      }
      const lines: readonly (readonly [string, string])[] = [
        ["image", found.reference],
        ["digest", digest],
        ["packaging", packaging],
        ["module", `${module.digest}  ${bytes(module.size)}`],
        ["entrypoint", JSON.stringify(entrypoint)],
        ["command", JSON.stringify(command)],
        ...environment.map(([name, value]) => ["env", `${name}=${value}`] as const),
        ["workingDir", workingDir || "-"],
        ["files", files === 0 ? "none besides the module" : counted(files, "file")],
      ];
      for (const [name, value] of lines) {
        process.stdout.write(`${name.padEnd(11)} ${printable(value)}\n`);
      }
    });
}
