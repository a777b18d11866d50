import type { Failure } from "../errors/mod.ts";

/** All of a body that is not longer than `most`; of a longer one nothing more is read than tells so. */
export async function readAll(
  body: AsyncIterable<Uint8Array>,
  most: number,
  tooLong: () => Failure,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    // Whoever leaves the loop ends the stream.
    if (size > most) throw tooLong();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
