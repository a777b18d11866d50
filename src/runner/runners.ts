import { chmodSync, mkdirSync, realpathSync } from "node:fs";
import { rm } from "node:fs/promises";
import { availableParallelism, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { createEngine, removeLeftovers, temporaryFolder, type Engine } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import type { RunnerOptions, Runners } from "./mod.ts";
import { OwnerEngine } from "./owner.ts";
import { Pool } from "./pool.ts";
import type { StartOptions } from "./process.ts";
import { programFor, type Program } from "./program.ts";
import type { Trust } from "./trust.ts";
import { findWalls, type Walls } from "./walls.ts";

const stagingPrefix = "atalanta-runners-";
const mebibyte = 1024 * 1024;
/** Below this, a process would not even start. */
const leastMemoryBytes = 256 * mebibyte;

/** Makes engines for all trust classes; threads and processes are started when they are first needed. */
export function createRunners(options: RunnerOptions = {}): Runners {
  return new AllRunners(options);
}

class AllRunners implements Runners {
  readonly #options: RunnerOptions;
  readonly #threads: number;
  readonly #memoryBytes: number;
  readonly #owners = new Map<string, Engine>();
  #threadEngine: Engine | undefined;
  #pool: Pool | undefined;
  #walls: Promise<Walls> | undefined;
  #base: string | undefined;
  #program: Program | undefined;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#threads = options.threads ?? availableParallelism();
    const half = (process.constrainedMemory() || totalmem()) / 2;
    this.#memoryBytes = Math.floor(Math.max(leastMemoryBytes, options.processBytes ?? half));
  }

  engine({ trust, owner }: { readonly trust: Trust; readonly owner: string }): Engine {
    if (trust === "pod") {
      throw new Failure("trust-class", 'The trust class "pod" needs a cluster, and here is none', {
        hint: 'Run the workflow on a cluster, or ask for the class "process".',
      });
    }
    const key = `${trust} ${owner}`;
    let engine = this.#owners.get(key);
    engine ??=
      trust === "thread" ? this.#threadOf(owner) : new OwnerEngine(this.#processes(), owner);
    // The order of the map is the order of use.
    this.#owners.delete(key);
    this.#owners.set(key, engine);
    const [oldest] = this.#owners.keys();
    if (this.#owners.size > keptOwners && oldest !== undefined) this.#owners.delete(oldest);
    return engine;
  }

  prepare(trust: Trust): void {
    if (trust === "process") this.#processes().prepare();
  }

  processes(): ReturnType<Runners["processes"]> {
    return this.#pool?.processes() ?? [];
  }

  async weaknesses(): Promise<readonly string[]> {
    return (await this.#findWalls()).missing;
  }

  /** All owners share this process's threads, and take turns on them. */
  #threadOf(owner: string): Engine {
    const { stagingFolder: folder } = this.#options;
    this.#threadEngine ??= createEngine({
      threads: this.#threads,
      ...(folder === undefined ? {} : { stagingFolder: folder }),
    });
    const engine = this.#threadEngine;
    return {
      load: (source, options) => engine.load(source, options),
      run: (module, invocation, options) =>
        engine.run(module, { ...invocation, group: owner }, options),
      // The threads are everybody's.
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  #processes(): Pool {
    this.#pool ??= new Pool({
      start: async (name): Promise<StartOptions> => ({
        walls: await this.#findWalls(),
        base: this.#folder(),
        name,
        threads: this.#threads,
        parkedBytes: this.#memoryBytes / 2,
        program: await this.#findProgram(),
        ...(this.#options.program === undefined ? {} : { standIn: this.#options.program }),
      }),
      spares: this.#options.spares ?? 1,
      mostProcesses: this.#options.mostProcesses ?? 32,
      idleMs: this.#options.idleMs ?? 60_000,
    });
    return this.#pool;
  }

  #findWalls(): Promise<Walls> {
    this.#walls ??= findWalls({
      memoryBytes: this.#memoryBytes,
      threads: this.#threads,
    });
    return this.#walls;
  }

  async #findProgram(): Promise<Program> {
    const { ownUser } = await this.#findWalls();
    this.#program ??= programFor(ownUser);
    return this.#program;
  }

  #folder(): string {
    if (this.#base !== undefined) return this.#base;
    const { stagingFolder: given } = this.#options;
    if (given === undefined) void removeLeftovers(tmpdir(), stagingPrefix);
    const folder = given === undefined ? temporaryFolder(stagingPrefix) : join(given, "runners");
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // What a process has is open to it alone, because nobody comes through here.
    chmodSync(folder, 0o700);
    this.#base = realpathSync(folder);
    return this.#base;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool?.[Symbol.asyncDispose]();
    await this.#threadEngine?.[Symbol.asyncDispose]();
    for (const folder of this.#program?.made ?? []) {
      await rm(folder, { recursive: true, force: true });
    }
    const { stagingFolder: given } = this.#options;
    if (given !== undefined) await rm(given, { recursive: true, force: true });
    else if (this.#base !== undefined) await rm(this.#base, { recursive: true, force: true });
  }
}

/** Engines of owners that are remembered; one more is a new one with the same process. */
const keptOwners = 1000;
