import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";

/** `sha256:` of what a file has. */
export async function digestOfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path, { highWaterMark: 256 * 1024 })) {
    hash.update(piece);
  }
  return `sha256:${hash.digest("hex")}`;
}
