import { DatabaseSync, type StatementSync } from "node:sqlite";
import { Failure } from "../../errors/mod.ts";
import type { Call, CallRecord, Ended } from "./model.ts";

/** Starts of a call that ended with the process; then it is the call that ends it. */
const mostStarts = 5;

/** What is written down of a call with a key, or that nobody waits for. */
export interface Entry {
  readonly call: Call;
  readonly createdAt: number;
  readonly starts: number;
  readonly submitted: boolean;
  readonly ended?: Ended;
  readonly endedAt?: number;
}

/**
 * Calls and their outcomes in a database file of one process. A call is here before it runs, and its outcome before anybody is told; what has ended is
 * kept for a stated time.
 */
export class Ledger implements Disposable {
  readonly #database: DatabaseSync;
  readonly #keptMs: number;
  readonly #statements: {
    readonly find: StatementSync;
    readonly begin: StatementSync;
    readonly start: StatementSync;
    readonly end: StatementSync;
    readonly forget: StatementSync;
    readonly open: StatementSync;
  };

  constructor(file: string, keptMs: number) {
    this.#keptMs = keptMs;
    this.#database = new DatabaseSync(file);
    this.#database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      PRAGMA busy_timeout = 5000;
      CREATE TABLE IF NOT EXISTS calls (
        owner TEXT NOT NULL, id TEXT NOT NULL, call TEXT NOT NULL, input BLOB, submitted INTEGER NOT NULL,
        created INTEGER NOT NULL, starts INTEGER NOT NULL DEFAULT 0,
        ended INTEGER, outcome TEXT, body BLOB, log BLOB,
        PRIMARY KEY (owner, id)
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS ended ON calls (ended);
    `);
    const prepare = (text: string): StatementSync => this.#database.prepare(text);
    this.#statements = {
      find: prepare("SELECT * FROM calls WHERE owner = ? AND id = ?"),
      begin: prepare(
        "INSERT INTO calls (owner, id, call, input, submitted, created) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
      ),
      start: prepare("UPDATE calls SET starts = starts + 1 WHERE owner = ? AND id = ?"),
      end: prepare(
        "UPDATE calls SET ended = ?, outcome = ?, body = ?, log = ?, input = NULL WHERE owner = ? AND id = ? AND ended IS NULL",
      ),
      forget: prepare("DELETE FROM calls WHERE ended < ?"),
      open: prepare("SELECT * FROM calls WHERE ended IS NULL AND submitted = 1 ORDER BY created"),
    };
  }

  /** Writes a call down, or finds what was written of it before. Throws `idempotency-mismatch`. */
  begin(call: Call, submitted: boolean): Entry {
    const { input, ...rest } = call;
    const created = Date.now();
    this.#statements.begin.run(
      call.owner,
      call.id,
      JSON.stringify(rest),
      input ?? null,
      submitted ? 1 : 0,
      created,
    );
    const entry = this.find(call.owner, call.id);
    if (!entry) throw new Failure("storage", `The call ${call.id} could not be written down`);
    if (entry.call.fingerprint !== call.fingerprint) throw mismatch(call);
    return entry;
  }

  find(owner: string, id: string): Entry | undefined {
    const row = this.#statements.find.get(owner, id);
    return row && entryOf(row);
  }

  /** Calls that were promised and have not ended. */
  unfinished(): readonly Entry[] {
    return this.#statements.open.all().map(entryOf);
  }

  /** Counts a start. Throws `call-poison` when the process has ended with it too often. */
  start({ call, starts }: Entry): void {
    if (starts >= mostStarts) {
      throw new Failure(
        "call-poison",
        `The call ${call.id} was begun ${starts} times, and the process ended each time`,
        {
          hint: "Look at what the function does with these arguments.",
        },
      );
    }
    this.#statements.start.run(call.owner, call.id);
  }

  /** The first outcome counts. */
  end({ owner, id }: Pick<Call, "owner" | "id">, ended: Ended): void {
    const { outcome, log, ...rest } = ended;
    const body = outcome.kind === "returned" ? outcome.body : null;
    const kept = outcome.kind === "returned" ? { ...outcome, body: undefined } : outcome;
    const text = JSON.stringify({ ...rest, outcome: kept });
    this.#statements.end.run(Date.now(), text, body, log, owner, id);
  }

  /** Forgets what has ended long ago. */
  sweep(): void {
    this.#statements.forget.run(Date.now() - this.#keptMs);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

export function recordOf({ call, createdAt, ended, endedAt }: Entry, running: boolean): CallRecord {
  return {
    id: call.id,
    owner: call.owner,
    target: call.target,
    function: call.function,
    state: ended ? "ended" : running ? "running" : "waiting",
    createdAt: new Date(createdAt).toISOString(),
    ...(endedAt === undefined ? {} : { endedAt: new Date(endedAt).toISOString() }),
    ...(ended ? { ended } : {}),
  };
}

export function mismatch({ key }: Pick<Call, "key">): Failure {
  return new Failure(
    "idempotency-mismatch",
    `The idempotency key "${key?.slice(0, 100) ?? ""}" was used for a call with other arguments`,
    { hint: "Make a new key for each call, and repeat it only with the same arguments." },
  );
}

function entryOf(row: Record<string, unknown>): Entry {
  const { input, ended, outcome, body, log } = row;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- we wrote it
  const call = JSON.parse(String(row["call"])) as Call;
  return {
    call: input instanceof Uint8Array ? { ...call, input } : call,
    createdAt: Number(row["created"]),
    starts: Number(row["starts"]),
    submitted: row["submitted"] === 1,
    ...(typeof outcome === "string"
      ? { ended: endedOf(outcome, body, log), endedAt: Number(ended) }
      : {}),
  };
}

function endedOf(text: string, body: unknown, log: unknown): Ended {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- we wrote it
  const said = JSON.parse(text) as Omit<Ended, "log">;
  const bytes = (value: unknown): Uint8Array => (value instanceof Uint8Array ? value : none);
  const { outcome } = said;
  return {
    ...said,
    outcome: outcome.kind === "returned" ? { ...outcome, body: bytes(body) } : outcome,
    log: bytes(log),
    repeated: true,
  };
}

const none = new Uint8Array(0);
