import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { Failure, type Code } from "../../src/errors/mod.ts";
import type { RegistryOptions } from "../../src/oci/mod.ts";

const folder = mkdtempSync(join(tmpdir(), "atalanta-oci-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;

/** A path in a folder that goes away after the tests of a file. */
export function newPath(): string {
  return join(folder, String(files++));
}

/** A client that loses no time. */
export const quick: RegistryOptions = {
  loopback: true,
  retries: { firstMs: 1, attempts: 3, mostMs: 1500 },
  timeouts: { connectMs: 2000, headersMs: 400, idleMs: 300 },
};

/** Bytes that tell where they are from. */
export function someBytes(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE((at * 2_654_435_761) % 2 ** 32, at);
  return bytes;
}

/** For `assert.rejects`: a failure with a code, and a message and perhaps a hint that match. */
export function failed(code: Code, message: RegExp, hint?: RegExp): (thrown: unknown) => true {
  return (thrown) => {
    assert(thrown instanceof Failure, String(thrown));
    assert.equal(thrown.code, code, thrown.message);
    assert.match(thrown.message, message);
    if (hint) assert.match(thrown.hint ?? "", hint);
    return true;
  };
}
