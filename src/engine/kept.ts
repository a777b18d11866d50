import type { Limits } from "../limits/mod.ts";
import { ceilingsOf } from "./ceilings.ts";
import type { Module } from "./mod.ts";
import { Reader } from "./reader.ts";
import { sections } from "./sections.ts";
import { ModuleFiles, type ModuleSource } from "./source.ts";

const keptModules = 64;
/** Bytes of all modules that are kept; what V8 made of them takes some times as much. */
const keptBytes = 256 * 1024 * 1024;

/** Whether a list of modules' sizes is longer than what is kept. */
export function tooMany(sizes: Iterable<number>): boolean {
  const all = [...sizes];
  return all.length > keptModules || all.reduce((sum, size) => sum + size, 0) > keptBytes;
}

/** What a module that is not kept is made of, and the key to keep it under. */
export interface Unknown {
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly digest: string;
}

const functionsSection = "atalanta:functions";
/** A description of a thousand functions has some hundred thousand. */
const describedBytes = 1024 * 1024;

/** What a module says of its functions (custom sections: core specification, section 5.5.3). What cannot be read says nothing. */
export function functionsOf(bytes: Uint8Array, name: string): Pick<Module, "functions"> {
  for (const { id, body } of sections(bytes, name)) {
    if (id !== 0) continue;
    const reader = new Reader(body, name);
    const length = reader.number();
    if (length !== functionsSection.length || body.length > describedBytes) continue;
    if (Buffer.from(reader.take(length)).toString("latin1") !== functionsSection) continue;
    return { functions: Buffer.from(body.subarray(reader.at)).toString() };
  }
  return {};
}

/** Modules that were loaded, by digest and ceilings; the least recently used goes first. */
export class KeptModules {
  readonly #files = new ModuleFiles();
  readonly #modules = new Map<string, Module>();

  /** Reads the source only when that is needed to tell. */
  find(source: ModuleSource, limits: Limits): Module | Unknown {
    const ceilings = ceilingsOf(limits);
    const same = this.#files.known(source, limits);
    const before = same === undefined ? undefined : this.#get(`${same} ${ceilings}`);
    if (before) return before;
    const { bytes, digest } = this.#files.read(source, limits);
    const key = `${digest} ${ceilings}`;
    return this.#get(key) ?? { key, bytes, digest };
  }

  keep(key: string, module: Module): void {
    this.#modules.set(key, module);
    for (const oldest of this.#modules.keys()) {
      if (!tooMany(this.#modules.values().map((kept) => kept.sizeBytes))) break;
      this.#modules.delete(oldest);
    }
  }

  /** The bytes of a source as it is now. */
  read(...asked: Parameters<ModuleFiles["read"]>): ReturnType<ModuleFiles["read"]> {
    return this.#files.read(...asked);
  }

  #get(key: string): Module | undefined {
    const known = this.#modules.get(key);
    if (!known) return undefined;
    this.#modules.delete(key);
    this.#modules.set(key, known);
    return known;
  }
}
