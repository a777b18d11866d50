import { Failure } from "../errors/mod.ts";

/** One event: an object of at most 1.5 MiB in etcd, which JSON can make longer. */
const lineBytes = 32 * 1024 * 1024;

/** The JSON of each line, whatever pieces it comes in. What is left at the end without a line end is not a whole one. */
export async function* jsonLines(stream: AsyncIterable<Buffer>): AsyncGenerator {
  let parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      parts.push(chunk.subarray(from, end));
      const line = parts.length === 1 ? parts[0] : Buffer.concat(parts);
      parts = [];
      size = 0;
      from = end + 1;
      const text = line?.toString() ?? "";
      if (text.trim() !== "") yield JSON.parse(text);
    }
    if (from < chunk.length) {
      parts.push(chunk.subarray(from));
      size += chunk.length - from;
      if (size > lineBytes) {
        throw new Failure("cluster-unavailable", `An event has more than ${lineBytes} bytes`);
      }
    }
  }
}
