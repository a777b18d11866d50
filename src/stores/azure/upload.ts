import { createHash, randomBytes } from "node:crypto";
import type { HostBytes } from "../../wasi/mod.ts";
import { eachOf, sizeOf } from "../files.ts";
import { tooLarge } from "../objects/ceilings.ts";
import { counting, type Source, type UploadOptions } from "../objects/source.ts";
import { cutParts, withSource, withSpool } from "../objects/spool.ts";
import type { Ask, Container } from "./container.ts";

const mebi = 1024 * 1024;
const leastBlock = 16 * mebi;
/** What Azure takes: 50,000 blocks of 4,000 MiB. We send fewer and smaller ones. */
const mostBlocks = 10_000;
const mostBlock = 2048 * mebi;
const blocksAtOnce = 4;

/** Sizes of blocks: all the same where the size is known; where it is not, they double every thousand. */
function blockSizes(size = 0): (index: number) => number {
  const first = Math.max(leastBlock, Math.ceil(size / mostBlocks / mebi) * mebi);
  return (index) => Math.min(mostBlock, first * 2 ** Math.floor(index / 1000));
}

/** Sends what lies here: small ones by one request, others in blocks. */
export async function uploadContent(
  container: Container,
  blob: string,
  content: HostBytes,
  options: UploadOptions,
): Promise<void> {
  const size = sizeOf(content);
  checkSize(container, size);
  const block = blockSizes(size)(0);
  await withSource(content, (source) =>
    size <= block
      ? putBlob(container, blob, source, options)
      : putBlocks(container, blob, cutParts(source, block), options),
  );
}

/** Sends bytes whose number nobody knows, each block from a file of its own. Tells how many there were. */
export async function uploadStream(
  container: Container,
  blob: string,
  bytes: () => AsyncIterable<Uint8Array>,
  options: UploadOptions,
): Promise<number> {
  let total = 0;
  const spooling = {
    context: container.context,
    sizeOf: blockSizes(),
    onTotal: (bytes: number) => {
      total = bytes;
      checkSize(container, bytes);
    },
  };
  await withSpool(bytes(), spooling, {
    one: (source) => putBlob(container, blob, source, options),
    several: (parts) => putBlocks(container, blob, parts, options),
  });
  return total;
}

function checkSize({ context }: Container, bytes: number): void {
  if (bytes > context.limits.bytes) throw tooLarge("would have more bytes", context.limits.bytes);
}

async function putBlob(
  container: Container,
  blob: string,
  source: Source,
  options: UploadOptions,
): Promise<void> {
  const md5 = createHash("md5");
  for await (const piece of source.pieces(0, source.size)) md5.update(piece);
  const headers = { "x-ms-blob-type": "BlockBlob", "content-md5": md5.digest("base64") };
  await put(container, { blob, headers }, source, options);
}

/** Blocks are nothing until all are put together; Azure forgets those of an upload that failed after a week. */
async function putBlocks(
  container: Container,
  blob: string,
  parts: AsyncIterable<Source> | Iterable<Source>,
  options: UploadOptions,
): Promise<void> {
  // Nobody else's blocks have these names, and all are of one length, as Azure wants them.
  const name = randomBytes(9).toString("base64url");
  const ids: string[] = [];
  const whole = createHash("md5");
  const named = async function* (): AsyncGenerator<{
    readonly source: Source;
    readonly id: string;
    readonly md5: string;
  }> {
    for await (const source of parts) {
      const md5 = createHash("md5");
      for await (const piece of source.pieces(0, source.size)) {
        whole.update(piece);
        md5.update(piece);
      }
      const id = Buffer.from(`${name}-${String(ids.length).padStart(8, "0")}`).toString("base64");
      ids.push(id);
      yield { source, id, md5: md5.digest("base64") };
    }
  };
  await eachOf(
    named(),
    { atOnce: blocksAtOnce, signal: options.signal },
    async ({ source, id, md5 }, signal) => {
      const query = { comp: "block", blockid: id };
      const headers = { "content-md5": md5 };
      await put(container, { blob, query, headers }, source, { ...options, signal });
      await source.sent?.();
    },
  );
  const list = ids.map((id) => `<Latest>${id}</Latest>`).join("");
  const bytes = Buffer.from(`<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`);
  // The same again is the same blob: what was put together already is found by its names.
  await container.text({
    method: "PUT",
    blob,
    query: { comp: "blocklist" },
    headers: {
      "content-type": "application/xml",
      "content-md5": createHash("md5").update(bytes).digest("base64"),
      "x-ms-blob-content-type": "application/octet-stream",
      "x-ms-blob-content-md5": whole.digest("base64"),
    },
    body: { size: bytes.length, pieces: () => [bytes] },
    signal: options.signal,
  });
}

/** One request, whose body is checked at the other end. */
async function put(
  container: Container,
  ask: Pick<Ask, "blob" | "query" | "headers">,
  source: Source,
  { signal, onBytes }: UploadOptions,
): Promise<void> {
  let sent = 0;
  const pieces = counting(source, (bytes) => {
    sent += bytes;
    onBytes(bytes);
  });
  await container.retried(signal, async () => {
    onBytes(-sent);
    sent = 0;
    const body = { size: source.size, pieces };
    const headers = { "content-type": "application/octet-stream", ...ask.headers };
    const answer = await container.once({ ...ask, method: "PUT", headers, body, signal });
    await container.context.transport.small(answer, 64 * 1024, signal);
  });
}
