import type { Engine } from "../engine/mod.ts";
import type { Trust } from "./trust.ts";

/** Who runs guests, by how far they are trusted: threads of this process, a process for each owner, or a pod. */
export { createRunners } from "./runners.ts";
export { parseTrust, strongest, trustClasses, type Trust } from "./trust.ts";

export interface RunnerOptions {
  /** Threads for guests, in this process and in each other one; default: the number of processors. */
  readonly threads?: number;
  /**
   * Folder for files that guests write, owned by the runners; where it lies on the file system of the inputs, these need no
   * copy. Default: a new one below the system's temporary folder.
   */
  readonly stagingFolder?: string;
  /** Processes that are started ahead of their use; default 1. */
  readonly spares?: number;
  /** Owners that have a process at once (default 32); further ones wait for one that has nothing to do. */
  readonly mostProcesses?: number;
  /** A process that has had nothing to do for so long is ended; default one minute. */
  readonly idleMs?: number;
  /** Memory that one process may have, in bytes; default: half of what the machine or container has. */
  readonly processBytes?: number;
  /** What is started as a runner process instead of our own; for tests of what a hostile one can do. */
  readonly program?: string;
}

/** One runner process, as an operator sees it. */
export interface RunnerView {
  /** A spare one has none. */
  readonly owner: string | undefined;
  /** Also the number of its process group. */
  readonly pid: number;
  /** Whether it has started to its end. */
  readonly ready: boolean;
}

/** Engines for every trust class. Disposing ends all threads and processes. */
export interface Runners extends AsyncDisposable {
  /**
   * The engine for an owner's guests. It lives as long as the runners; disposing of it does nothing. Throws `trust-class` for a
   * class that cannot be had here. A module belongs to the engine that loaded it.
   */
  engine(need: { readonly trust: Trust; readonly owner: string }): Engine;
  /** Starts what the class needs ahead of its first use. */
  prepare(trust: Trust): void;
  /** Runner processes that live. */
  processes(): readonly RunnerView[];
  /** What the class `process` lacks on this machine, in words; empty where every wall stands. */
  weaknesses(): Promise<readonly string[]>;
}
