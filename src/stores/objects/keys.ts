import { Failure } from "../../errors/mod.ts";

const keyBytes = 1024;

/** Refuses keys that no store takes, and those that something on the way may read as another one. Throws `artifact-path`. */
export function checkKey(key: string): void {
  const bytes = Buffer.byteLength(key);
  const why = key.split("/").some((part) => part === "." || part === "..")
    ? 'it has a "." or ".." between slashes'
    : bytes > keyBytes
      ? `it has ${bytes} bytes, and ${keyBytes} may be`
      : /\p{Cc}/u.test(key)
        ? "it has characters that cannot be seen"
        : key.isWellFormed()
          ? undefined
          : "it is no Unicode";
  if (why === undefined) return;
  throw new Failure(
    "artifact-path",
    `The key ${JSON.stringify(key.slice(0, 200))} cannot be used: ${why}`,
    {
      hint: "Use another key; if it is made of parameters, look at their values.",
    },
  );
}

/** Encodes all but RFC 3986's unreserved characters, as signatures want it. */
export function encoded(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${(character.codePointAt(0) ?? 0).toString(16).toUpperCase()}`,
  );
}
