import type { LimitKey, Limits } from "../limits/mod.ts";
import type { GuestMemory } from "./memory.ts";
import type { Table } from "./table.ts";
import type { Tree } from "./tree.ts";

/** What the sandbox's owner gives to its guest. */
export interface World {
  readonly arguments: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  readonly stdin: Uint8Array;
  /** What comes on stdin after that, piece by piece; nothing at its end. The guest waits beside its thread. Absent: `stdin` is all. */
  readonly more?: () => Promise<Uint8Array | undefined>;
  /** Whether `output` may answer with a promise. */
  readonly pours?: boolean;
  readonly tree: Tree;
  readonly preopens: readonly string[];
  readonly limits: Limits;
  /** The calls that the guest imports; absent: all are made ready. */
  readonly wanted?: ReadonlySet<string>;
  /** Processor time that the guest has used, for the clocks that count it; absent: it has none. */
  readonly cpuTimeNs?: () => bigint;
  /** Told of each ceiling that the guest got an error for. */
  readonly reached?: (limit: LimitKey) => void;
  /**
   * Receives what the guest writes to its standard streams, still in the guest's memory; may throw to stop the guest. A promise makes
   * the guest wait until there is room for more.
   */
  readonly output: (stream: "stdout" | "stderr", bytes: Uint8Array) => Promise<void> | undefined;
  /** Waits without the thread, where the guest's stack can be put aside; a short wait and any other place blocks. */
  readonly park?: (ms: number) => Promise<void> | undefined;
}

/** What the calls of one guest work on. */
export interface Sandbox {
  readonly world: World;
  readonly memory: GuestMemory;
  readonly table: Table;
}

/**
 * Calls of preview 1 by name, with the parameters of its witx description as WebAssembly gives them. Each answers success by
 * returning and an error by throwing an `Errno`.
 */
export type Calls = Readonly<Record<string, (...parameters: never[]) => void | Promise<void>>>;
