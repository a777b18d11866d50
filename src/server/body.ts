import { Failure } from "../errors/mod.ts";
import type { ApiRequest } from "./mod.ts";

/** Reads a body whole. Throws `request-too-large`. */
export async function readBody(
  { body, header }: Pick<ApiRequest, "body" | "header">,
  most: number,
): Promise<Uint8Array> {
  const length = Number(header("content-length") ?? 0);
  if (length > most) throw tooLarge(length, most);
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of body) {
    size += piece.length;
    if (size > most) throw tooLarge(size, most);
    pieces.push(piece);
  }
  const [only] = pieces;
  return pieces.length === 1 && only ? only : Buffer.concat(pieces, size);
}

/** Reads a body of JSON. Throws `invalid-argument`. */
export async function readJson(request: ApiRequest, most: number): Promise<unknown> {
  const text = Buffer.from(await readBody(request, most)).toString();
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `The body is no JSON: ${reason}`, { cause });
  }
}

function tooLarge(size: number, most: number): Failure {
  return new Failure("request-too-large", `The body has ${size} bytes; ${most} may be`, {
    hint: "Send it in pieces to a function that streams its input, or as an artifact of a workflow.",
  });
}
