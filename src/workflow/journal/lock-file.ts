import { existsSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { isBusy, told } from "./database.ts";

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

  /** Nothing while another process, or another claim of this one, has it. */
  static take(path: string): LockFile | undefined {
    // Whoever only looks holds it for an instant; that must not count as a claim.
    const connection = connect(path, 200);
    // In memory: no second file beside it.
    if (locks(connection, "PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE", path)) {
      return new LockFile(path, connection);
    }
    connection.close();
    return undefined;
  }

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
    throw told(path, cause);
  }
}

function locks(connection: DatabaseSync, sql: string, path: string): boolean {
  try {
    connection.exec(sql);
    return true;
  } catch (cause) {
    if (isBusy(cause)) return false;
    connection.close();
    throw told(path, cause);
  }
}
