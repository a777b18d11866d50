import { existsSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { Failure } from "../errors/mod.ts";

/** Whoever only looks holds a lock for an instant; that must not count as a claim. */
const lookMs = 200;

/**
 * A lock that the operating system lets go of when its process dies. Node has no `flock`, but SQLite locks an empty database file with
 * the same system call. Nothing else may open the file: POSIX drops a process's locks on a file when it closes any descriptor of it.
 */
export class LockFile implements Disposable {
  readonly #path: string;
  readonly #connection: DatabaseSync;

  /** A connection that is collected as garbage lets go of its lock, so what is held is held on to. */
  static readonly #held = new Set<LockFile>();

  private constructor(path: string, connection: DatabaseSync) {
    this.#path = path;
    this.#connection = connection;
    LockFile.#held.add(this);
  }

  /**
   * For one alone. Nothing while another process, or another claim of this one, has it or shares it. This thread stands still for `waitMs` while it is
   * not free.
   */
  static take(path: string, waitMs: number = lookMs): LockFile | undefined {
    return LockFile.#open(path, "BEGIN EXCLUSIVE", waitMs);
  }

  /** For many at once. Nothing while somebody has it alone. */
  static share(path: string): LockFile | undefined {
    return LockFile.#open(path, "BEGIN; SELECT count(*) FROM sqlite_schema", lookMs);
  }

  static #open(path: string, sql: string, waitMs: number): LockFile | undefined {
    const connection = connect(path, waitMs);
    // In memory: no second file beside it.
    if (locks(connection, `PRAGMA journal_mode = MEMORY; ${sql}`, path)) {
      return new LockFile(path, connection);
    }
    connection.close();
    return undefined;
  }

  /** Whether somebody has it alone. */
  static isTaken(path: string): boolean {
    if (!existsSync(path)) return false;
    const connection = connect(path, 0);
    const free = locks(connection, "SELECT count(*) FROM sqlite_schema", path);
    connection.close();
    return !free;
  }

  /** Takes the file away with the lock. */
  remove(): void {
    rmSync(this.#path, { force: true });
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (LockFile.#held.delete(this)) this.#connection.close();
  }
}

function connect(path: string, timeout: number): DatabaseSync {
  try {
    return new DatabaseSync(path, { timeout });
  } catch (cause) {
    throw cannotLock(path, cause);
  }
}

function locks(connection: DatabaseSync, sql: string, path: string): boolean {
  try {
    connection.exec(sql);
    return true;
  } catch (cause) {
    if (isBusy(cause)) return false;
    connection.close();
    throw cannotLock(path, cause);
  }
}

function isBusy(thrown: unknown): boolean {
  // SQLITE_BUSY, SQLITE_LOCKED
  return (
    thrown instanceof Error && "errcode" in thrown && [5, 6].includes(Number(thrown.errcode) & 0xff)
  );
}

function cannotLock(path: string, cause: unknown): Failure {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new Failure("storage", `Cannot lock "${path}": ${reason}`, {
    cause,
    hint: "Check that the disk has room and that the folder may be written.",
  });
}
