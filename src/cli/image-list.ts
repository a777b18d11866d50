import type { Command } from "commander";
import { age, bytes } from "./format.ts";
import { openKeptImages } from "./images.ts";
import { escaped, table } from "./text.ts";

interface Options {
  readonly json?: boolean;
  readonly digests?: boolean;
  readonly quiet?: boolean;
}

/** `atalanta image ls` */
export function addImageList(image: Command): void {
  image
    .command("ls")
    .alias("list")
    .description("List the images that are here, the one that was used last first")
    .option("--digests", "digests in full")
    .option("-q, --quiet", "only references with their digests")
    .option("--json", "one line of JSON for each image")
    .addHelpText("after", "\nExamples:\n  atalanta image ls\n  atalanta image ls --json")
    .action(async (options: Options) => {
      await using images = await openKeptImages();
      const found = await images.list();
      if (options.json) {
        for (const item of found) {
          const { usedAt, ...rest } = item;
          const said = { ...rest, usedAt: new Date(usedAt).toISOString() };
          process.stdout.write(`${escaped(JSON.stringify(said))}\n`);
        }
        return;
      }
      if (options.quiet) {
        for (const { references, digest } of found) {
          const names = references.length === 0 ? [digest] : references;
          for (const name of names) {
            process.stdout.write(`${name.includes(digest) ? name : `${name}@${digest}`}\n`);
          }
        }
        return;
      }
      if (found.length === 0) {
        process.stdout.write("No images here\n");
        return;
      }
      // A name is a line, as docker has it: an image with many of them would make every line as long as all.
      const named = found.flatMap((item) =>
        (item.references.length === 0 ? ["-"] : item.references).map((name) => ({ ...item, name })),
      );
      const rows = named.map((item) => [
        item.name,
        options.digests ? item.digest : item.digest.slice(0, "sha256:".length + 12),
        item.packaging,
        bytes(item.sizeBytes),
        `${age(Date.now() - item.usedAt)} ago`,
        item.inUse ? "in use" : "",
      ]);
      const head = ["REFERENCE", "DIGEST", "PACKAGING", "SIZE", "USED", ""];
      process.stdout.write(`${table([head, ...rows]).join("\n")}\n`);
    });
}
