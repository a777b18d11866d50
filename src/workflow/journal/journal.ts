import { join } from "node:path";
import { closest } from "../../document/mod.ts";
import { Failure } from "../../errors/mod.ts";
import type { Begin, NodeOutputs, Phase, RunEvent } from "../plan/mod.ts";
import { RunClaim } from "./claim.ts";
import { Database, damaged, type Row } from "./database.ts";
import { LockFile } from "../../locks/mod.ts";
import type {
  Claim,
  Journal,
  JournalOptions,
  Recorded,
  Requested,
  RunSummary,
  Summary,
} from "./mod.ts";
import { integer, readRecord, text, write } from "./records.ts";

/**
 * Opens the journal of a data folder, making it when there is none. `journal-format` for a file of another kind or version, `storage` where
 * it cannot be written; such a file is never changed.
 */
export function openJournal(options: JournalOptions): Journal {
  return new DatabaseJournal(options);
}

class DatabaseJournal implements Journal {
  readonly #database: Database;
  readonly #folder: string;

  constructor(options: JournalOptions) {
    this.#folder = options.folder;
    this.#database = new Database(options.folder, options.durability ?? "normal");
  }

  create(begin: Begin, at: number): Claim {
    if (!/^[\w-]{1,64}$/.test(begin.uid)) {
      throw new Failure("invalid-argument", `"${begin.uid}" cannot be the uid of a run`, {
        hint: "Use letters, digits and hyphens, 64 at most.",
      });
    }
    const lock = this.#take(begin.uid, begin.name);
    try {
      const { body, checksum } = write(begin, 0);
      this.#database.transaction(() => {
        if (this.#database.get("SELECT 1 FROM run WHERE name = ?", begin.name)) {
          throw new Failure("invalid-argument", `There is a run "${begin.name}" already`, {
            hint: `Give another name, or delete the old one: atalanta delete ${begin.name}`,
          });
        }
        this.#database.run(
          `INSERT INTO run (name, uid, begin, checksum, events, phase, startedAt, suspended, done, total, pid)
           VALUES (?, ?, ?, ?, 0, 'Pending', ?, 0, 0, 0, ?)`,
          begin.name,
          begin.uid,
          body,
          checksum,
          at,
          process.pid,
        );
      });
      return this.#claimed(begin.name, lock);
    } catch (thrown) {
      lock.remove();
      throw thrown;
    }
  }

  claim(name: string): Claim {
    const lock = this.#take(text(this.#row(name)["uid"]), name);
    try {
      this.#database.transaction(() => {
        const { id } = this.#row(name);
        this.#database.run("UPDATE run SET pid = ? WHERE id = ?", process.pid, integer(id));
        // What a dead process held is taken back with `retakeLocks`.
        this.#database.run("DELETE FROM holder WHERE run = ?", integer(id));
        this.#database.run("DELETE FROM waiter WHERE run = ?", integer(id));
      });
      return this.#claimed(name, lock);
    } catch (thrown) {
      lock[Symbol.dispose]();
      throw thrown;
    }
  }

  list(): readonly RunSummary[] {
    const rows = this.#database.all(`SELECT ${listed} FROM run ORDER BY startedAt DESC, id DESC`);
    return rows.map((row) => this.#listed(row));
  }

  find(name: string): RunSummary | undefined {
    const [row] = this.#database.all(`SELECT ${listed} FROM run WHERE name = ?`, name);
    return row && this.#listed(row);
  }

  #listed(row: Row): RunSummary {
    return {
      name: text(row["name"]),
      uid: text(row["uid"]),
      startedAt: integer(row["startedAt"]),
      ...summary(row),
      live: row["finishedAt"] === null && LockFile.isTaken(this.#lockPath(text(row["uid"]))),
    };
  }

  read(name: string): Recorded {
    return this.#recorded(this.#row(name));
  }

  request(name: string, requested: Requested): void {
    this.#database.transaction(() => {
      const row = this.#row(name);
      if (row["finishedAt"] !== null) {
        throw new Failure(
          "invalid-argument",
          `The run "${name}" has ended: ${text(row["phase"])}`,
          { hint: `Look at it with: atalanta get ${name}` },
        );
      }
      this.#database.run(
        "INSERT INTO request (run, body) VALUES (?, ?)",
        integer(row["id"]),
        JSON.stringify(requested),
      );
    });
  }

  *remembered(): Generator<NodeOutputs> {
    for (const row of this.#database.all("SELECT outputs FROM memory")) {
      // Written by `remember` of the same format.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
      yield JSON.parse(text(row["outputs"])) as NodeOutputs;
    }
  }

  delete(name: string): void {
    const { id, uid } = this.#row(name);
    const lock = this.#take(text(uid), name);
    try {
      this.#database.transaction(() => {
        for (const table of ["event", "request", "holder", "waiter"]) {
          this.#database.run(`DELETE FROM ${table} WHERE run = ?`, integer(id));
        }
        this.#database.run("DELETE FROM run WHERE id = ?", integer(id));
      });
    } catch (thrown) {
      lock[Symbol.dispose]();
      throw thrown;
    }
    // Whoever opened the file meanwhile gets a lock on a file without a name, and then finds no run.
    lock.remove();
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  #take(uid: string, name: string): LockFile {
    const lock = LockFile.take(this.#lockPath(uid));
    if (lock) return lock;
    const pid = this.#database.get("SELECT pid FROM run WHERE uid = ?", uid)?.["pid"];
    throw new Failure("journal-busy", `The run "${name}" belongs to the process ${String(pid)}`, {
      hint: `Wait for it, or end it with: atalanta terminate ${name}`,
    });
  }

  #lockPath(uid: string): string {
    return join(this.#folder, "locks", uid);
  }

  #claimed(name: string, lock: LockFile): Claim {
    const row = this.#row(name);
    return new RunClaim({
      database: this.#database,
      lock,
      name,
      run: integer(row["id"]),
      recorded: this.#recorded(row),
      summary: summary(row),
      isAlive: (uid) => LockFile.isTaken(this.#lockPath(uid)),
    });
  }

  #recorded(row: Row): Recorded {
    const name = text(row["name"]);
    const run = integer(row["id"]);
    const count = integer(row["events"]);
    const { begin: body = null, checksum = null } = row;
    const what = `the beginning of the run "${name}"`;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `create` wrote it
    const begin = readRecord({ body, checksum }, 0, what) as Begin;
    return { begin, count, events: { [Symbol.iterator]: () => this.#events(run, count, name) } };
  }

  /** In pieces, so that a long run is never in memory as a whole and no read keeps the journal from being tidied. */
  *#events(run: number, count: number, name: string): Generator<RunEvent> {
    const piece = 500;
    for (let from = 0; from < count; from += piece) {
      const rows = this.#database.all(
        "SELECT sequence, body, checksum FROM event WHERE run = ? AND sequence >= ? ORDER BY sequence LIMIT ?",
        run,
        from,
        Math.min(piece, count - from),
      );
      for (let at = from; at < Math.min(count, from + piece); at += 1) {
        const row = rows[at - from];
        const what = `record ${at} of the run "${name}"`;
        if (row?.["sequence"] !== at) throw damaged(`${what} is missing`);
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `append` wrote it
        yield readRecord(row, at, what) as RunEvent;
      }
    }
  }

  #row(name: string): Row {
    const row = this.#database.get("SELECT * FROM run WHERE name = ?", name);
    if (row) return row;
    const names = this.#database
      .all("SELECT name FROM run ORDER BY startedAt DESC LIMIT 1000")
      .map((item) => text(item["name"]));
    // A generated name is often typed without its last letters.
    const close =
      names.find((other) => name !== "" && other.startsWith(name)) ?? closest(name, names);
    throw new Failure("not-found", `There is no run "${name}"`, {
      hint:
        close === undefined ? "See what there is with: atalanta list" : `Did you mean "${close}"?`,
    });
  }
}

/** Columns of the list. */
const listed = "name, uid, phase, message, startedAt, finishedAt, suspended, done, total";

function summary(row: Row): Summary {
  const { message, finishedAt } = row;
  return {
    // `append` and `create` write nothing else there.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
    phase: text(row["phase"]) as Phase,
    ...(typeof message === "string" ? { message } : {}),
    ...(typeof finishedAt === "number" ? { finishedAt } : {}),
    suspended: row["suspended"] === 1,
    progress: { done: integer(row["done"]), total: integer(row["total"]) },
  };
}
