import type { Command } from "commander";
import { Failure } from "../errors/mod.ts";
import { parseBytes, parseDurationMs } from "../limits/mod.ts";
import type { CachedImage } from "../oci/mod.ts";
import { bytes, counted } from "./format.ts";
import { openKeptImages } from "./images.ts";
import { escaped } from "./text.ts";

interface Options {
  readonly all?: boolean;
  readonly older?: string;
  readonly maxBytes?: string;
  readonly json?: boolean;
}

/** `atalanta image prune` */
export function addImagePrune(image: Command): void {
  image
    .command("prune")
    .description("Remove images that no run uses")
    .option("--all", "every image")
    .option("--older <duration>", "images that were not used for so long, such as 12h, 30d")
    .option(
      "--max-bytes <size>",
      "those that were not used for the longest time, until so much is left, such as 1Gi",
    ) // prettier-ignore
    .option("--json", "one line of JSON for each image that was removed")
    .addHelpText(
      "after",
      `
Without --all, --older or --max-bytes those go that no tag names any more. What a run uses now stays.

Examples:
  atalanta image prune
  atalanta image prune --older 30d`,
    )
    .action(async (options: Options) => {
      await using images = await openKeptImages();
      const gone = await images.prune(choice(options, await images.list()));
      for (const { digest, references, sizeBytes } of gone) {
        const names = references.length === 0 ? [digest] : references;
        const lines = options.json
          ? [escaped(JSON.stringify({ digest, references, sizeBytes }))]
          : names.map((name) => `${name} removed`);
        process.stdout.write(`${lines.join("\n")}\n`);
      }
      const freed = gone.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      if (!options.json) {
        process.stdout.write(`${counted(gone.length, "image")} removed, ${bytes(freed)} freed\n`);
      }
    });
}

function choice(
  { all, older, maxBytes }: Options,
  here: readonly CachedImage[],
): (image: CachedImage) => boolean {
  const given = [all, older, maxBytes].filter((value) => value !== undefined);
  if (given.length > 1) {
    throw new Failure(
      "invalid-argument",
      "Only one of --all, --older and --max-bytes may be given",
      {
        hint: "Give one of them.",
      },
    );
  }
  if (all) return () => true;
  if (older !== undefined) {
    const before = Date.now() - parseDurationMs(older);
    return ({ usedAt }) => usedAt < before;
  }
  if (maxBytes === undefined) return ({ references }) => references.length === 0;
  const most = parseBytes(maxBytes);
  let total = 0;
  const over = new Set<string>();
  for (const { digest, sizeBytes } of here) {
    total += sizeBytes;
    if (total > most) over.add(digest);
  }
  return ({ digest }) => over.has(digest);
}
