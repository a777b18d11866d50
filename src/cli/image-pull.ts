import { Option, type Command } from "commander";
import { Failure } from "../errors/mod.ts";
import type { Progress, PullPolicy } from "../oci/mod.ts";

import { bytes } from "./format.ts";
import { openUserImages } from "./images.ts";
import { interrupted } from "./interrupt.ts";
import { limitsOfHost } from "./limits.ts";
import { allowAddressHelp, collect, configHelp } from "./options.ts";
import { readOperatorFile } from "./configuration.ts";
import { printFailure } from "./print.ts";
import { canRedraw } from "./style.ts";
import { escaped } from "./text.ts";

interface Options {
  readonly pullPolicy: PullPolicy;
  readonly allowAddress: readonly string[];
  readonly config?: string;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

/** `atalanta image pull REFERENCE…` */
export function addImagePull(image: Command): void {
  image
    .command("pull")
    .description("Bring images here, so that runs find them")
    .argument("<reference...>", "such as ghcr.io/acme/step:1.2 or NAME@sha256:DIGEST")
    .addOption(
      new Option("--pull-policy <policy>", "whether a registry is asked for what is here")
        .choices(["Always", "IfNotPresent"])
        .default("Always"),
    )
    .option("--allow-address <range>", allowAddressHelp, collect, [])
    .option("--config <file>", configHelp)
    .option("-q, --quiet", "no progress")
    .option("--json", "one line of JSON for each image")
    .addHelpText(
      "after",
      `
Prints the reference with its digest, which is the same image at any time.

Examples:
  atalanta image pull ghcr.io/acme/split-pages:1.2
  atalanta image pull --json localhost:5000/step:1

Exit codes: 0 all are here, 1 one could not be had, 2 wrong usage, 130 interrupted.`,
    )
    .action(async (references: readonly string[], options: Options) => {
      const operator = await readOperatorFile(options.config);
      await using images = await openUserImages(operator, {
        limits: limitsOfHost([], operator.limits),
        allowAddresses: options.allowAddress,
      });
      for (const reference of references) {
        const show = !options.json && !options.quiet && canRedraw(process.stderr);
        try {
          using pulled = await images.get(reference, {
            pullPolicy: options.pullPolicy,
            signal: interrupted,
            ...(show ? { onProgress: (progress) => draw(reference, progress) } : {}),
          });
          if (show) process.stderr.write("\r\u001B[K");
          const { digest, packaging, module } = pulled;
          const line = options.json
            ? escaped(JSON.stringify({ reference: pulled.reference, digest, packaging, moduleDigest: module.digest, moduleBytes: module.size })) // prettier-ignore
            : named(pulled.reference, digest);
          process.stdout.write(`${line}\n`);
        } catch (thrown) {
          if (show) process.stderr.write("\r\u001B[K");
          if (!(thrown instanceof Failure) || thrown.code === "aborted") throw thrown;
          if (thrown.code === "invalid-argument") throw thrown;
          printFailure(thrown, options.json ?? false);
          process.exitCode = 1;
        }
      }
    });
}

/** `NAME:TAG@DIGEST`. */
function named(reference: string, digest: string): string {
  return reference.includes("@") ? reference : `${reference}@${digest}`;
}

function draw(reference: string, { receivedBytes, totalBytes }: Progress): void {
  process.stderr.write(`\r\u001B[K${reference}: ${bytes(receivedBytes)} of ${bytes(totalBytes)}`);
}
