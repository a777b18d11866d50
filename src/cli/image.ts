import type { Command } from "commander";
import { addImageCopy } from "./image-copy.ts";
import { addImageInspect } from "./image-inspect.ts";
import { addImageList } from "./image-list.ts";
import { addImagePrune } from "./image-prune.ts";
import { addImagePull } from "./image-pull.ts";
import { addImagePush } from "./image-push.ts";
import { addImageVerify } from "./image-verify.ts";

/** `atalanta image …` */
export function addImage(program: Command): void {
  const image = program
    .command("image")
    .description("Pull, push, check and remove images of modules")
    .addHelpText(
      "after",
      `
Logins are those of docker and podman. A run pulls what it needs by itself.

Examples:
  atalanta image pull ghcr.io/acme/split-pages:1.2
  atalanta image ls
  atalanta image prune --older 30d`,
    );
  addImagePull(image);
  addImagePush(image);
  addImageCopy(image);
  addImageVerify(image);
  addImageList(image);
  addImageInspect(image);
  addImagePrune(image);
}
