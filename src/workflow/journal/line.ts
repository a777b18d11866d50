import type { Lock } from "../plan/mod.ts";
import type { Database } from "./database.ts";
import { integer, text } from "./records.ts";

/** How long a run counts as living after it was looked at. */
const aliveMs = 500;

export interface LineOptions {
  readonly database: Database;
  readonly run: number;
  readonly isAlive: (uid: string) => boolean;
}

/**
 * Mutexes and semaphores over all runs of the journal. Nodes stand in line in the order of asking and take all of their locks or
 * none, so nobody holds one lock while waiting for another, and the first in line is held up by holders only: no deadlock. A lock or a
 * place in line whose run no process has any more counts as given up.
 */
export class Line {
  readonly #database: Database;
  readonly #run: number;
  readonly #isAlive: (uid: string) => boolean;
  readonly #waiting = new Map<string, readonly Lock[]>();
  readonly #seenAlive = new Map<number, number>();

  constructor(options: LineOptions) {
    this.#database = options.database;
    this.#run = options.run;
    this.#isAlive = options.isAlive;
  }

  ask(node: string, locks: readonly Lock[]): void {
    this.#waiting.set(node, locks);
    this.#database.transaction(() => {
      for (const { key } of locks) {
        this.#database.run(
          "INSERT INTO waiter (key, run, node) VALUES (?, ?, ?)",
          key,
          this.#run,
          node,
        );
      }
    });
  }

  take(): readonly string[] {
    if (this.#waiting.size === 0) return [];
    return this.#database.transaction(() => {
      const turns = new Map<string, ReadonlySet<string>>();
      for (const locks of this.#waiting.values()) {
        for (const lock of locks) {
          if (!turns.has(lock.key)) turns.set(lock.key, this.#turn(lock));
        }
      }
      const ready = new Set([...turns.values()].flatMap((nodes) => [...nodes]));
      const taken = [...ready].filter((node) =>
        this.#waiting.get(node)?.every(({ key }) => turns.get(key)?.has(node)),
      );
      for (const node of taken) {
        this.#hold(node, this.#waiting.get(node) ?? []);
        this.#database.run("DELETE FROM waiter WHERE run = ? AND node = ?", this.#run, node);
        this.#waiting.delete(node);
      }
      return taken;
    });
  }

  retake(held: ReadonlyMap<string, readonly Lock[]>): boolean {
    return this.#database.transaction(() => {
      const mine = new Map<string, { readonly limit: number; readonly count: number }>();
      for (const { key, limit } of [...held.values()].flat()) {
        mine.set(key, { limit, count: (mine.get(key)?.count ?? 0) + 1 });
      }
      for (const [key, { limit, count }] of mine) {
        this.#forgetDead(key);
        if (this.#holders(key) + count > limit) return false;
      }
      for (const [node, locks] of held) this.#hold(node, locks);
      return true;
    });
  }

  leave(node: string): void {
    this.#waiting.delete(node);
    for (const table of ["holder", "waiter"]) {
      this.#database.run(`DELETE FROM ${table} WHERE run = ? AND node = ?`, this.#run, node);
    }
  }

  /** Lets others go on at once; a process that dies does not get here, and they find out by its claim. */
  close(): void {
    this.#database.run("DELETE FROM holder WHERE run = ?", this.#run);
    this.#database.run("DELETE FROM waiter WHERE run = ?", this.#run);
  }

  #hold(node: string, locks: readonly Lock[]): void {
    for (const { key } of locks) {
      this.#database.run(
        "INSERT OR IGNORE INTO holder (key, run, node) VALUES (?, ?, ?)",
        key,
        this.#run,
        node,
      );
    }
  }

  /** Nodes of this run that stand far enough in front to take the lock. */
  #turn({ key, limit }: Lock): ReadonlySet<string> {
    this.#forgetDead(key);
    const free = limit - this.#holders(key);
    if (free <= 0) return new Set();
    const front = this.#database.all(
      "SELECT run, node FROM waiter WHERE key = ? ORDER BY id LIMIT ?",
      key,
      free,
    );
    return new Set(front.filter(({ run }) => run === this.#run).map(({ node }) => text(node)));
  }

  #holders(key: string): number {
    return integer(
      this.#database.get("SELECT count(*) AS held FROM holder WHERE key = ?", key)?.["held"],
    );
  }

  #forgetDead(key: string): void {
    const others = this.#database.all(
      `SELECT id, uid FROM run WHERE id IN
         (SELECT run FROM holder WHERE key = ?1 UNION SELECT run FROM waiter WHERE key = ?1) AND id <> ?2`,
      key,
      this.#run,
    );
    for (const { id, uid } of others) {
      const run = integer(id);
      if (performance.now() - (this.#seenAlive.get(run) ?? -aliveMs) < aliveMs) continue;
      if (this.#isAlive(text(uid))) this.#seenAlive.set(run, performance.now());
      else {
        this.#database.run("DELETE FROM holder WHERE run = ?", run);
        this.#database.run("DELETE FROM waiter WHERE run = ?", run);
      }
    }
  }
}
