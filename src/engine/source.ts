import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { Failure } from "../errors/mod.ts";
import { limitFailure, type Limits } from "../limits/mod.ts";

/** Files whose digests are remembered. */
const remembered = 64;

/** Where the bytes of a module come from. */
export type ModuleSource =
  | { readonly path: string }
  | { readonly bytes: Uint8Array; readonly name: string };

/** Reads modules and tells their digests: a loop of many steps reads and hashes its module file once. */
export class ModuleFiles {
  /** Digests by what the file looked like. */
  readonly #digests = new Map<string, string>();

  /** The digest of a file that looks as it did when it was read. */
  known(source: ModuleSource, limits: Limits): string | undefined {
    const looks = "path" in source ? appearance(source.path, limits) : undefined;
    return looks === undefined ? undefined : this.#digests.get(looks);
  }

  read(
    source: ModuleSource,
    limits: Limits,
  ): { readonly bytes: Uint8Array; readonly digest: string } {
    const looks = "path" in source ? appearance(source.path, limits) : undefined;
    const bytes = "path" in source ? read(source.path, limits) : source.bytes;
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    if (looks !== undefined) {
      if (this.#digests.size >= remembered) this.#digests.clear();
      this.#digests.set(looks, digest);
    }
    return { bytes, digest };
  }
}

/** What messages call the module. */
export function nameOf(source: ModuleSource): string {
  return "path" in source ? basename(source.path) : source.name;
}

/** Changes whenever the file does; nothing for a file that was changed just now, when the clock of the file system could hide one more change. */
function appearance(path: string, limits: Limits): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (!found || found.size > limits.moduleBytes) return undefined;
  if (Date.now() - Number(found.ctimeMs) < 1000) return undefined;
  return `${found.dev} ${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs} ${path}`;
}

function read(path: string, limits: Limits): Uint8Array {
  const bytes = readModule(path, limits.moduleBytes);
  if (bytes instanceof Uint8Array) return bytes;
  throw limitFailure("moduleSize", limits, `"${path}" has ${bytes} bytes`);
}

/**
 * The bytes of a module file, or how many there are when they are more than `most`. Throws `module-not-found` for what is no file: a
 * document names the path, and a pipe would keep this thread for good, and a device may have no end.
 */
export function readModule(path: string, most: number): Uint8Array | number {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const found = fstatSync(descriptor);
    if (!found.isFile()) throw new Error("it is not a file");
    return found.size > most ? found.size : readFileSync(descriptor);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("module-not-found", `Cannot read the module "${path}": ${reason}`, {
      cause,
      hint: "Check the path; it is relative to the folder you are in, or to the workflow file.",
    });
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}
