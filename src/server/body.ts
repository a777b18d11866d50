import { Failure } from "../errors/mod.ts";
import type { ApiRequest } from "./mod.ts";

/** Reads a body of JSON. Throws `invalid-argument`. */
export async function readJson({ read }: Pick<ApiRequest, "read">, most: number): Promise<unknown> {
  const text = Buffer.from(await read(most)).toString();
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `The body is no JSON: ${reason}`, { cause });
  }
}

export function bodyTooLarge(size: number, most: number): Failure {
  return new Failure("request-too-large", `The body has ${size} bytes; ${most} may be`, {
    hint: "Send it in pieces to a function that streams its input, or as an artifact of a workflow.",
  });
}
