/**
 * A text of several parts, in one piece. A sum of strings would keep its parts beside it for as long as it lives, which is half as
 * much again for each name of a large run.
 */
export function joined(...parts: readonly (string | number)[]): string {
  return parts.join("");
}

/** The id of a node: the run's name for its first one, else `NAME-` and the hash of the node's name, as Argo makes it. */
export function nodeId(run: string, name: string): string {
  return name === run ? name : joined(run, "-", fnv1a(name));
}

const encoder = new TextEncoder();

/** FNV-1a with 32 bits over the UTF-8 bytes. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit > 0x7f) return bytes(text);
    hash = Math.imul(hash ^ unit, 0x01000193);
  }
  return hash >>> 0;
}

function bytes(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of encoder.encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
