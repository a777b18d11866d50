import type { Lock, NodeOutputs, RunEvent } from "../plan/mod.ts";
import type { Database } from "./database.ts";
import type { LockFile } from "../../locks/mod.ts";
import { Line } from "./line.ts";
import type { Claim, MemoryKey, Recorded, Requested, Summary } from "./mod.ts";
import { integer, text, write } from "./records.ts";

export interface RunClaimOptions {
  readonly database: Database;
  readonly lock: LockFile;
  readonly name: string;
  /** The run's number in the database. */
  readonly run: number;
  readonly recorded: Recorded;
  readonly summary: Summary;
  readonly isAlive: (uid: string) => boolean;
}

export class RunClaim implements Claim {
  readonly name: string;
  readonly recorded: Recorded;
  readonly #database: Database;
  readonly #lock: LockFile;
  readonly #run: number;
  readonly #line: Line;
  #summary: Summary;
  #sequence: number;
  #version: unknown;

  constructor(options: RunClaimOptions) {
    this.name = options.name;
    this.recorded = options.recorded;
    this.#database = options.database;
    this.#lock = options.lock;
    this.#run = options.run;
    this.#line = new Line(options);
    this.#summary = options.summary;
    this.#sequence = options.recorded.count;
  }

  get summary(): Summary {
    return this.#summary;
  }

  append(events: readonly RunEvent[], summary: Summary, answered: readonly number[] = []): void {
    const count = this.#sequence + events.length;
    this.#database.transaction(() => {
      for (const [index, event] of events.entries()) {
        const sequence = this.#sequence + index;
        const { body, checksum } = write(event, sequence);
        this.#database.run(
          "INSERT INTO event (run, sequence, body, checksum) VALUES (?, ?, ?, ?)",
          this.#run,
          sequence,
          body,
          checksum,
        );
      }
      this.#database.run(
        `UPDATE run SET events = ?, phase = ?, message = ?, finishedAt = ?, suspended = ?, done = ?, total = ? WHERE id = ?`,
        count,
        summary.phase,
        summary.message ?? null,
        summary.finishedAt ?? null,
        summary.suspended ? 1 : 0,
        summary.progress.done,
        summary.progress.total,
        this.#run,
      );
      for (const id of answered) this.#database.run("DELETE FROM request WHERE id = ?", id);
      // What nobody can answer any more must not meet a later retry.
      if (summary.finishedAt !== undefined) {
        this.#database.run("DELETE FROM request WHERE run = ?", this.#run);
      }
    });
    this.#sequence = count;
    this.#summary = summary;
  }

  changed(): boolean {
    const version = this.#database.get("PRAGMA data_version")?.["data_version"];
    const changed = version !== this.#version;
    this.#version = version;
    return changed;
  }

  requests(): readonly { readonly id: number; readonly requested: Requested }[] {
    return this.#database
      .all("SELECT id, body FROM request WHERE run = ? ORDER BY id", this.#run)
      .map(({ id, body }) => ({
        id: integer(id),
        // Written by `request` of the same format.
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
        requested: JSON.parse(text(body)) as Requested,
      }));
  }

  askLocks(node: string, locks: readonly Lock[]): void {
    this.#line.ask(node, locks);
  }

  takeLocks(): readonly string[] {
    return this.#line.take();
  }

  retakeLocks(held: ReadonlyMap<string, readonly Lock[]>): boolean {
    return this.#line.retake(held);
  }

  unlock(node: string): void {
    this.#line.leave(node);
  }

  recall(memory: MemoryKey, notBefore: number): NodeOutputs | null {
    const row = this.#database.get(
      "SELECT outputs FROM memory WHERE cache = ? AND key = ? AND at >= ?",
      memory.cache,
      memory.key,
      notBefore,
    );
    // Written by `remember` of the same format.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
    return row ? (JSON.parse(text(row["outputs"])) as NodeOutputs) : null;
  }

  remember(memory: MemoryKey, outputs: NodeOutputs, at: number): void {
    this.#database.run(
      `INSERT INTO memory (cache, key, outputs, at) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET outputs = excluded.outputs, at = excluded.at WHERE excluded.at >= memory.at`,
      memory.cache,
      memory.key,
      JSON.stringify(outputs),
      at,
    );
  }

  [Symbol.dispose](): void {
    this.#line.close();
    this.#lock[Symbol.dispose]();
  }
}
