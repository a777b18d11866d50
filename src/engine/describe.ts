import { createHash } from "node:crypto";
import { basename } from "node:path";
import { Failure, toFailure, type FailureRecord } from "../errors/mod.ts";
import { defaultLimits, type Limits } from "../limits/mod.ts";
import {
  capabilitiesMissing,
  capabilitiesOf,
  http,
  preview1,
  Tree,
  type FoundCapability,
} from "../wasi/mod.ts";
import { checkImports, isOffered, noEntry } from "./guest.ts";
import type { Engine } from "./mod.ts";
import { Reader } from "./reader.ts";
import { sections } from "./sections.ts";
import { readModule } from "./source.ts";

type Imports = ReturnType<typeof WebAssembly.Module.imports>;

/** What a module is and could do, told from its bytes; nothing of it runs. */
export interface Description {
  readonly name: string;
  readonly sizeBytes: number;
  /** Absent for a file that is too large to be read. */
  readonly digest?: string;
  /** `command` has a `_start`, `reactor` an `_initialize`. */
  readonly entry: "command" | "reactor" | "none";
  readonly capabilities: readonly FoundCapability[];
  /** What it has no import for. */
  readonly lacks: readonly Pick<FoundCapability, "capability" | "says">[];
  /** Imports that the sandbox does not offer, so that the module is refused; the first thousand of them. */
  readonly unknownImports: readonly {
    readonly module: string;
    readonly name: string;
    readonly kind: string;
  }[];
  /** The first thousand. */
  readonly exports: readonly { readonly name: string; readonly kind: string }[];
  /** As declared; a memory may be imported or defined. */
  readonly memories: readonly {
    readonly minimumBytes: number;
    readonly maximumBytes?: number;
    readonly imported: boolean;
  }[];
  readonly functionCount: number;
  /** Proposals that its sections show, and those that its compiler noted. Instructions are not looked at. */
  readonly features: readonly string[];
  /** What made it, by its own account. */
  readonly producers: readonly string[];
  /** Why no sandbox takes it. */
  readonly refusal?: FailureRecord;
}

const kinds = ["function", "table", "memory", "global", "tag"] as const;
const pageBytes = 65_536;
/** Of what a module can name without end: so much is kept, each name up to so many bytes. */
const keptNames = 1000;
const nameBytes = 256;
/** The highest ceilings of types and functions; a module with more is refused anyway. */
const keptTypes = 1_000_000;

/** Describes a module file. Throws `module-not-found` for what cannot be read; whatever is wrong with the bytes is a `refusal`. */
export async function describe(
  path: string,
  engine: Engine,
  options: { readonly limits?: Limits; readonly signal?: AbortSignal } = {},
): Promise<Description> {
  const { limits = defaultLimits } = options;
  const found = new Findings();
  const bytes = readModule(path, limits.moduleBytes);
  if (bytes instanceof Uint8Array) {
    try {
      found.walk(bytes, basename(path));
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      // The engine says below what is wrong; what was read so far is told all the same.
    }
  }
  // What was looked at is what is loaded, whatever happens to the file meanwhile.
  const source = bytes instanceof Uint8Array ? { bytes, name: basename(path) } : { path };
  const refusal = await refusalOf(found, () => engine.load(source, { ...options, limits }));
  return {
    name: basename(path),
    ...(bytes instanceof Uint8Array
      ? {
          sizeBytes: bytes.length,
          digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
        }
      : { sizeBytes: bytes }),
    ...found.told(),
    ...(refusal ? { refusal: refusal.toJSON() } : {}),
  };
}

/** Asks what decides when a guest starts: the engine's own checks of the bytes, of the imports and of the entry. */
async function refusalOf(
  found: Findings,
  load: () => Promise<unknown>,
): Promise<Failure | undefined> {
  try {
    await load();
    checkImports(found.imports(), offered());
    if (!found.startsAlone) {
      throw noEntry(found.entry === "reactor", found.entry === "command");
    }
    return undefined;
  } catch (thrown) {
    const failure = toFailure(thrown);
    if (failure.code === "aborted" || failure.code === "internal") throw thrown;
    return failure;
  }
}

function offered(): Readonly<Record<string, object>> {
  const tree = new Tree(defaultLimits, () => {
    throw new Failure("internal", "Nothing is written where nothing runs");
  });
  const { imports, ended } = preview1({
    arguments: [],
    environment: new Map(),
    stdin: new Uint8Array(0),
    tree,
    preopens: [],
    limits: defaultLimits,
    output: () => undefined,
  });
  const atalantaHttp = http({
    memory: () => undefined,
    ended,
    ask: undefined,
    close: () => {},
    limits: defaultLimits,
  });
  return { wasi_snapshot_preview1: imports, atalanta_http: atalantaHttp };
}

/** What the sections say, up to the place where they are damaged. */
class Findings {
  /** Those that the sandbox offers. */
  readonly #known = new Map<string, Imports[number]>();
  readonly #others = new Map<string, Description["unknownImports"][number]>();
  readonly #exports: Description["exports"][number][] = [];
  readonly #memories: Description["memories"][number][] = [];
  readonly #features = new Set<string>();
  readonly #producers: string[] = [];
  /** How many parameters each type has, and the type of each function, imported ones first. */
  readonly #parameters: number[] = [];
  readonly #functionTypes: number[] = [];
  #functionCount = 0;
  #start: number | undefined;
  #hasInitialize = false;

  get entry(): Description["entry"] {
    return this.#start !== undefined ? "command" : this.#hasInitialize ? "reactor" : "none";
  }

  /** Whether `_start` can be called without arguments. */
  get startsAlone(): boolean {
    const type = this.#start === undefined ? undefined : this.#functionTypes[this.#start];
    return type !== undefined && this.#parameters[type] === 0;
  }

  imports(): Imports {
    return [...this.#known.values(), ...this.#others.values()];
  }

  told() {
    const functions = new Set(this.#known.keys());
    return {
      entry: this.entry,
      capabilities: capabilitiesOf(functions),
      lacks: capabilitiesMissing(functions),
      unknownImports: [...this.#others.values()],
      exports: this.#exports,
      memories: this.#memories,
      functionCount: this.#functionCount,
      features: [...this.#features].toSorted(),
      producers: this.#producers,
    };
  }

  walk(bytes: Uint8Array, name: string): void {
    for (const { id, body } of sections(bytes, name)) {
      const section = new Reader(body, name);
      if (id === 0) this.#custom(section, body.length);
      else if (id === 1) this.#types(section);
      else if (id === 2) this.#imports(section);
      else if (id === 3) this.#functionsOf(section);
      else if (id === 5) this.#memoriesOf(section);
      else if (id === 7) this.#exportsOf(section);
      else if (id === 12) this.#features.add("bulk-memory");
      else if (id === 13) this.#features.add("exception-handling");
    }
  }

  /** Up to one that is no function, which tells of a proposal. */
  #types(reader: Reader): void {
    for (let left = Math.min(reader.number(), keptTypes); left > 0; left--) {
      if (reader.byte() !== 0x60) {
        this.#features.add("garbage-collection");
        return;
      }
      for (const list of [this.#parameters, []]) {
        const count = reader.number();
        list.push(count);
        for (let types = count; types > 0; types--) reader.valueType();
      }
    }
  }

  #functionsOf(reader: Reader): void {
    this.#functionCount = reader.number();
    for (let left = this.#functionCount; left > 0; left--) {
      this.#functionType(reader.number());
    }
  }

  #functionType(type: number): void {
    if (this.#functionTypes.length < keptTypes) this.#functionTypes.push(type);
  }

  #imports(reader: Reader): void {
    const known = offered();
    for (let left = reader.number(); left > 0; left--) {
      const module = text(reader);
      const name = text(reader);
      const kind = kinds[reader.byte()];
      if (kind === undefined) throw reader.damaged("an import of an unknown kind");
      if (kind === "function") this.#functionType(reader.number());
      else if (kind === "table") {
        reader.byte();
        limitsOf(reader);
      } else if (kind === "memory") this.#memory(reader, true);
      else if (kind === "global") {
        reader.byte();
        reader.byte();
      } else {
        reader.byte();
        reader.number();
      }
      if (isOffered({ module, name, kind }, known)) {
        const key = module === "wasi_snapshot_preview1" ? name : `${module}.${name}`;
        this.#known.set(key, { module, name, kind });
      } else if (this.#others.size < keptNames) {
        this.#others.set(`${kind} ${module}\0${name}`, { module, name, kind });
      }
    }
  }

  #memoriesOf(reader: Reader): void {
    const count = reader.number();
    if (count > 1) this.#features.add("multi-memory");
    for (let left = Math.min(count, keptNames); left > 0; left--) this.#memory(reader, false);
  }

  #memory(reader: Reader, imported: boolean): void {
    const { minimum, maximum, flags } = limitsOf(reader);
    if (flags & 2) this.#features.add("threads");
    if (flags & 4) this.#features.add("memory64");
    this.#memories.push({
      minimumBytes: minimum * pageBytes,
      ...(maximum === undefined ? {} : { maximumBytes: maximum * pageBytes }),
      imported,
    });
  }

  #exportsOf(reader: Reader): void {
    for (let left = reader.number(); left > 0; left--) {
      const name = text(reader);
      const kind = kinds[reader.byte()];
      if (kind === undefined) throw reader.damaged("an export of an unknown kind");
      const index = reader.number();
      if (kind === "function" && name === "_start") this.#start = index;
      if (kind === "function" && name === "_initialize") this.#hasInitialize = true;
      if (this.#exports.length < keptNames) this.#exports.push({ name, kind });
    }
  }

  /** `producers` and `target_features` of the tool conventions; nobody vouches for them, and what is damaged there harms nothing. */
  #custom(reader: Reader, size: number): void {
    try {
      const name = text(reader);
      if (name === "target_features") {
        for (let left = reader.number(); left > 0 && this.#features.size < keptNames; left--) {
          const used = reader.byte() === 0x2b;
          const feature = text(reader);
          if (used) this.#features.add(feature);
        }
      }
      if (name !== "producers") return;
      for (let fields = reader.number(); fields > 0 && reader.at < size; fields--) {
        const field = text(reader);
        for (let left = reader.number(); left > 0; left--) {
          const value = [text(reader), text(reader)].filter(Boolean).join(" ");
          if (this.#producers.length < keptNames) this.#producers.push(`${field} ${value}`);
        }
      }
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
    }
  }
}

function limitsOf(reader: Reader): {
  readonly flags: number;
  readonly minimum: number;
  readonly maximum?: number;
} {
  const flags = reader.byte();
  const minimum = reader.number();
  return flags & 1 ? { flags, minimum, maximum: reader.number() } : { flags, minimum };
}

function text(reader: Reader): string {
  const bytes = reader.take(reader.number());
  const shown = Buffer.from(bytes.subarray(0, nameBytes)).toString();
  return bytes.length > nameBytes ? `${shown}…` : shown;
}
