import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { recordOf, textOf } from "../kubernetes/mod.ts";

/** The nodes of a large workflow, unpacked; at most so much of them is looked at. */
const nodesBytes = 64 * 1024 * 1024;
const unpack = promisify(gunzip);

/** The nodes of a workflow's status, by id; undefined when they lie where only the engine reads them, or cannot be read. */
export async function nodesOf(
  status: Readonly<Record<string, unknown>>,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  if (textOf(status["offloadNodeStatusVersion"]) !== undefined) return undefined;
  const packed = textOf(status["compressedNodes"]);
  if (packed === undefined) return recordOf(status["nodes"]);
  try {
    const bytes = await unpack(Buffer.from(packed, "base64"), { maxOutputLength: nodesBytes });
    return recordOf(JSON.parse(bytes.toString()));
  } catch {
    return undefined;
  }
}
