import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  DatabaseSync,
  type SQLInputValue,
  type SQLOutputValue,
  type StatementSync,
} from "node:sqlite";
import { Failure } from "../../errors/mod.ts";

/** "Atln": tells our databases from all others. */
const applicationId = 0x41_74_6c_6e;
/** Raised whenever an older Atalanta could misread what this one writes, or would plan differently after the same events. */
const format = 1;
/** How long a writer waits for another process; a transaction of ours takes well under a millisecond. */
const busyMs = 5000;

const schema = `
CREATE TABLE run (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, uid TEXT NOT NULL UNIQUE, begin TEXT NOT NULL, checksum INTEGER NOT NULL,
  events INTEGER NOT NULL, phase TEXT NOT NULL, message TEXT, startedAt INTEGER NOT NULL, finishedAt INTEGER,
  suspended INTEGER NOT NULL, done INTEGER NOT NULL, total INTEGER NOT NULL, pid INTEGER NOT NULL
) STRICT;
CREATE TABLE event (
  run INTEGER NOT NULL, sequence INTEGER NOT NULL, body TEXT NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (run, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE request (id INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE TABLE holder (key TEXT NOT NULL, run INTEGER NOT NULL, node TEXT NOT NULL, PRIMARY KEY (key, run, node)) STRICT, WITHOUT ROWID;
CREATE INDEX holderRun ON holder (run, node);
CREATE TABLE waiter (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, run INTEGER NOT NULL, node TEXT NOT NULL) STRICT;
CREATE INDEX waiterKey ON waiter (key, id);
CREATE INDEX waiterRun ON waiter (run, node);
CREATE TABLE memory (
  cache TEXT NOT NULL, key TEXT NOT NULL, outputs TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (cache, key)
) STRICT, WITHOUT ROWID;
`;

export type Row = Record<string, SQLOutputValue>;

/** The database file: opened only when it is ours, and every foreign error turned into a failure once. */
export class Database {
  readonly path: string;
  readonly #connection: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(folder: string, durability: "normal" | "full") {
    this.path = join(folder, "journal.db");
    try {
      mkdirSync(join(folder, "locks"), { recursive: true });
    } catch (cause) {
      throw storage(folder, cause);
    }
    this.#connection = this.#guard(() => new DatabaseSync(this.path, { timeout: busyMs }));
    try {
      this.#prepareFile();
      this.#connection.exec(`PRAGMA synchronous = ${durability === "full" ? "FULL" : "NORMAL"}`);
    } catch (thrown) {
      this.#connection.close();
      throw thrown;
    }
  }

  get(sql: string, ...values: readonly SQLInputValue[]): Row | undefined {
    return this.#guard(() => this.#statement(sql).get(...values));
  }

  all(sql: string, ...values: readonly SQLInputValue[]): readonly Row[] {
    return this.#guard(() => this.#statement(sql).all(...values));
  }

  run(sql: string, ...values: readonly SQLInputValue[]): number {
    return this.#guard(() => Number(this.#statement(sql).run(...values).changes));
  }

  /** All of it or nothing. The lock is taken at the start, so that what is read is still true when it is written. */
  transaction<Value>(work: () => Value): Value {
    this.run("BEGIN IMMEDIATE");
    try {
      const value = work();
      this.run("COMMIT");
      return value;
    } catch (thrown) {
      // A full disk may have rolled it back already.
      if (this.#connection.isTransaction) this.run("ROLLBACK");
      throw thrown;
    }
  }

  close(): void {
    this.#statements.clear();
    if (this.#connection.isOpen) this.#connection.close();
  }

  /** Nothing is written before the file is known to be empty or ours. */
  #prepareFile(): void {
    if (this.#isNew()) {
      this.#patiently(() => this.get("PRAGMA journal_mode = WAL"));
      this.transaction(() => {
        // Another process may have been faster.
        if (!this.#isNew()) return;
        this.#connection.exec(schema);
        this.#connection.exec(`PRAGMA application_id = ${applicationId}`);
        this.#connection.exec(`PRAGMA user_version = ${format}`);
      });
    }
  }

  #isNew(): boolean {
    // In one statement, so that another process cannot make the file while it is looked at.
    const { id, version, tables } =
      this.get(
        `SELECT application_id AS id, user_version AS version, (SELECT count(*) FROM sqlite_schema) AS tables
         FROM pragma_application_id, pragma_user_version`,
      ) ?? {};
    if (id === applicationId && version === format) return false;
    if (id === applicationId) {
      throw new Failure(
        "journal-format",
        `The journal "${this.path}" has format ${String(version)}; this Atalanta knows format ${format}`,
        { hint: "Use the version of Atalanta that wrote it, or name another data folder." },
      );
    }
    if (id === 0 && version === 0 && tables === 0) return true;
    throw new Failure("journal-format", `The database "${this.path}" is no journal of Atalanta`, {
      hint: "Move the file away, or name another data folder.",
    });
  }

  /** Turning a new file into WAL mode does not wait by itself when two processes do it at once. */
  #patiently(work: () => void): void {
    for (let attempt = 1; ; attempt += 1) {
      try {
        work();
        return;
      } catch (thrown) {
        if (attempt === 50 || !(thrown instanceof Failure) || !isBusy(thrown.cause)) throw thrown;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
      }
    }
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#connection.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #guard<Value>(work: () => Value): Value {
    try {
      return work();
    } catch (cause) {
      throw told(this.path, cause);
    }
  }
}

/** The primary code of SQLite's error; the upper bits only refine it. */
function sqliteCode(thrown: unknown): number | undefined {
  if (!(thrown instanceof Error) || !("errcode" in thrown)) return undefined;
  return typeof thrown.errcode === "number" ? thrown.errcode & 0xff : undefined;
}

function isBusy(thrown: unknown): boolean {
  const code = sqliteCode(thrown);
  return code === 5 || code === 6; // SQLITE_BUSY, SQLITE_LOCKED
}

/** The failure that an error of SQLite is; anything else stays what it is. */
function told(path: string, cause: unknown): unknown {
  const code = sqliteCode(cause);
  if (code === undefined) return cause;
  // SQLITE_CORRUPT, SQLITE_NOTADB
  if (code === 11 || code === 26) {
    return damaged(`"${path}": ${cause instanceof Error ? cause.message : ""}`, cause);
  }
  if (isBusy(cause)) {
    return new Failure("storage", `Another process holds the journal "${path}" for too long`, {
      cause,
      hint: "Look for a process that is stopped or hangs, then resume.",
    });
  }
  // SQLITE_PERM, SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN
  return [3, 8, 10, 13, 14].includes(code) ? storage(path, cause) : cause;
}

function storage(path: string, cause: unknown): Failure {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new Failure("storage", `Cannot write the journal "${path}": ${reason}`, {
    cause,
    hint: "Make room or give write permission, then resume: nothing that was accepted is lost.",
  });
}

/** A failure for a record or a file that cannot be trusted; it is left as it is. */
export function damaged(what: string, cause?: unknown): Failure {
  return new Failure("journal-format", `The journal is damaged: ${what}`, {
    cause,
    hint: "Restore the file from a copy, delete the run, or name another data folder; nothing was changed.",
  });
}
