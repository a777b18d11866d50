/** What happened to every run of a data folder, kept so that a killed process loses nothing that was accepted. */
import type { Begin, NodeOutputs, Phase, RunEvent, Lock } from "../plan/mod.ts";

export { openJournal } from "./journal.ts";

export interface JournalOptions {
  /** Holds `journal.db` and a lock file for each run; made when it is not there. Must be on a local disk. */
  readonly folder: string;
  /**
   * `normal` (default): survives the death of the process at any moment; a loss of power may take the last moments, never more.
   * `full`: each record is on the disk before anything follows from it.
   */
  readonly durability?: "normal" | "full";
}

/** All runs of one data folder. Several processes may have it open at once. */
export interface Journal extends Disposable {
  /** Begins a run. `invalid-argument` when the name is taken. */
  create(begin: Begin, at: number): Claim;
  /** Takes the right to go on with a run. `journal-busy` while a living process has it. */
  claim(name: string): Claim;
  /** Newest first. */
  list(): readonly RunSummary[];
  /** The run of this name, if there is one. */
  find(name: string): RunSummary | undefined;
  read(name: string): Recorded;
  /** Leaves word for the process that runs it, or for the next one that takes it up. */
  request(name: string, requested: Requested): void;
  /** What `memoize` keeps for later runs, whichever run it came from. */
  remembered(): Iterable<NodeOutputs>;
  /** Forgets a run that no process has. */
  delete(name: string): void;
}

/** What a run was begun with and all that happened since, in order. */
export interface Recorded {
  readonly begin: Begin;
  readonly count: number;
  /** Read as they are asked for; `journal-format` at the first damaged one. */
  readonly events: Iterable<RunEvent>;
}

/** What the list shows of a run without reading its records. */
export interface Summary {
  readonly phase: Phase;
  readonly message?: string;
  readonly finishedAt?: number;
  readonly suspended: boolean;
  readonly progress: { readonly done: number; readonly total: number };
}

export interface RunSummary extends Summary {
  readonly name: string;
  readonly uid: string;
  readonly startedAt: number;
  /** Whether a process runs it now. */
  readonly live: boolean;
}

type Untimed<Event> = Event extends RunEvent ? Omit<Event, "at"> : never;

/** What a user can ask of a run: the event that it becomes, without its time. */
export type Requested = Untimed<
  Extract<RunEvent, { readonly type: "resumed" | "suspended" | "shutdown" | "retried" }>
>;

/** The right to go on with one run; the operating system takes it back when the process dies. */
export interface Claim extends Disposable {
  readonly name: string;
  readonly recorded: Recorded;
  /** What was last written with `append`. */
  readonly summary: Summary;
  /** Records events and what follows from them for the list, all or nothing, and drops the requests that they answer. */
  append(events: readonly RunEvent[], summary: Summary, answered?: readonly number[]): void;
  /** Whether another process wrote anything since the last call; costs microseconds. */
  changed(): boolean;
  requests(): readonly { readonly id: number; readonly requested: Requested }[];
  /** Stands in line for locks over all runs of the journal. */
  askLocks(node: string, locks: readonly Lock[]): void;
  /** Takes the locks whose turn has come; returns the nodes that have all of theirs now. */
  takeLocks(): readonly string[];
  /** Takes back, all or none, what the run held when its process died. */
  retakeLocks(held: ReadonlyMap<string, readonly Lock[]>): boolean;
  /** Lets go of a node's locks, or leaves the line. */
  unlock(node: string): void;
  recall(memory: MemoryKey, notBefore: number): NodeOutputs | null;
  /** Keeps outputs for later runs, unless newer ones are there. */
  remember(memory: MemoryKey, outputs: NodeOutputs, at: number): void;
}

export interface MemoryKey {
  readonly cache: string;
  readonly key: string;
}
