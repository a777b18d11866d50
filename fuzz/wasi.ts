import assert from "node:assert/strict";
import { findPython, Wasmtime } from "../test/conformance/live.ts";
import { Ours } from "../test/conformance/ours.ts";
import { Script, type Argument, type Descriptor, type Step } from "../test/conformance/script.ts";
import { setting, type Found, type Outcome } from "../test/conformance/setting.ts";
import {
  append,
  bytes,
  c,
  create,
  directory,
  exclusive,
  open,
  rights,
  truncate,
} from "../test/conformance/steps.ts";
import type { Chance } from "./chance.ts";
import { Model } from "./model.ts";

// Guests with random calls: what each answers, and what then lies in the folders, must be what a simple model of a file system says.
// Where wasmtime is at hand, every eighth guest runs there too, with calls that are the same everywhere (`plain`).

const names = ["a", "b", "c", "e"] as const;
const parts = [
  "f", "x", "new", "dir", "deep", "hollow", "link", "dlink", "empty", "y", "dangling", "nowhere", "loop", "up", "back", "chain",
  "slashed", "..", ".", "ümlaut", "out",
] as const; // prettier-ignore
/** Paths that lead somewhere as a round begins, or may lead to something new. */
const good = [
  "f", "new", "dir/x", "hollow/new", "dir", "hollow", "empty", "link", "dir/deep/y", "dir/deep", "dlink/x", "g", "sub", "sub/new",
  "dlink", "hollow/a", "chain", "dir/back", "dir/new", "other", "dlink/deep/y", ".", "dir/../f", "dangling",
] as const; // prettier-ignore
const odd: readonly Uint8Array[] = [
  bytes(""),
  bytes("/"),
  bytes("/d/f"),
  Uint8Array.of(0x66, 0xff),
  Uint8Array.of(0x66, 0, 0x66),
  bytes("n".repeat(256)),
  bytes("n".repeat(255)),
];
const texts = ["", "A", "bc", "0123456789", "z".repeat(300), "w".repeat(5000)] as const;
const rooms = [0, 1, 3, 10, 100, 6000] as const;
const places = [0n, 1n, 5n, 10n, 2n, 300n, 5000n, 300_000n, -1n] as const;
const times = [0n, 1n, 1_500_000_000_123_456_789n, 4_000_000_000_000_000_000n] as const;

let ours: Ours | undefined;
let wasmtime: Wasmtime | undefined | "absent";

export async function round(chance: Chance): Promise<void> {
  const plain = chance.one(8);
  const steps = new Guest(chance, plain).steps;
  const slices = !plain && chance.one(2);
  ours ??= new Ours();
  const own = await ours.run(new Script(steps).text, setting, { slices, trees: true });
  const modelled = model(steps);
  const mine = read(steps, own, plain);
  compare("the model", steps, mine, read(steps, modelled, plain));
  if (!plain) return;
  const live = await besides();
  if (!live) return;
  const theirs = await live.run(new Script(steps).text, setting, { trees: true });
  compare("wasmtime", steps, mine, read(steps, theirs, plain));
}

export async function close(): Promise<void> {
  await ours?.[Symbol.asyncDispose]();
  if (wasmtime instanceof Wasmtime) await wasmtime[Symbol.asyncDispose]();
}

async function besides(): Promise<Wasmtime | undefined> {
  if (wasmtime === undefined) {
    const python = findPython();
    if (python === undefined) {
      process.stderr.write(
        "wasi: no Python with wasmtime is here, so guests run beside the model alone\n",
      );
    }
    wasmtime = python === undefined ? "absent" : await Wasmtime.start(python);
  }
  return wasmtime === "absent" ? undefined : wasmtime;
}

function model(steps: readonly Step[]): Outcome {
  const model = new Model(setting);
  const answers = steps.flatMap((step) => {
    if ("call" in step) return [model.call(step)];
    if ("forget" in step) model.forget(step.forget);
    return [];
  });
  return {
    told: new Script(steps).tell(answers),
    stdout: Buffer.from(model.stdout).toString("hex"),
    end: "exit 0",
    trees: model.trees(),
  };
}

interface Read {
  readonly answers: readonly string[];
  readonly rest: readonly string[];
}

function read(steps: readonly Step[], outcome: Outcome, plain: boolean): Read {
  const answers = new Script(steps).read(outcome.told);
  const entry = ({ path, kind, content, target }: Found): string =>
    `${path} ${kind} ${content ?? target ?? ""}`;
  const trees = (outcome.trees ?? []).map((tree) => tree.map(entry).toSorted().join("\n"));
  return {
    answers: plain ? answers.map((answer, index) => masked(steps[index], answer)) : answers,
    rest: [outcome.end, outcome.stdout, ...trees],
  };
}

/** Without what a real directory tells differently: times, who lies above, and inodes, which come again for other files. */
function masked(step: Step | undefined, answer: string): string {
  const twoPaths =
    step && "call" in step && ["path_link", "path_rename", "path_symlink"].includes(step.call);
  // When both paths are wrong, which of them is told of is each host's own affair.
  if (twoPaths && answer !== "ok") return "an error";
  return answer
    .replace(/ times=.*/, "")
    .replace(/\.\.:directory:\w+/, "..")
    .replace(/#\d+/g, "#");
}

function compare(who: string, steps: readonly Step[], mine: Read, theirs: Read): void {
  const at = theirs.answers.findIndex((answer, index) => answer !== mine.answers[index]);
  const told = (): string =>
    steps
      .slice(0, at < 0 ? undefined : at + 1)
      .map((step, index) => `${index} ${written(step)}\n     ${mine.answers[index]}`)
      .join("\n");
  if (at >= 0) assert.fail(`${who} answers\n     ${theirs.answers[at]}\nto the last of\n${told()}`);
  assert.deepEqual(mine.rest, theirs.rest, `${who} ends otherwise after\n${told()}`);
}

function written(step: Step): string {
  if (!("call" in step)) return JSON.stringify(step);
  const argument = (value: Argument): string =>
    value instanceof Uint8Array
      ? JSON.stringify(Buffer.from(value).toString())
      : typeof value === "bigint"
        ? `${value}n`
        : JSON.stringify(value);
  const as = step.as === undefined ? "" : `, as ${step.as}`;
  return `${step.call}(${step.arguments.map(argument).join(", ")}${as})`;
}

/** A list of random calls. Chance that draws 0 makes the simplest of each. */
class Guest {
  readonly steps: Step[] = names.map((forget) => ({ forget }));
  readonly #chance: Chance;
  readonly #plain: boolean;
  /** Names that were opened last as a file, or as a directory, if all went well. */
  readonly #files = new Set<string>();
  readonly #directories = new Set<string>();

  constructor(chance: Chance, plain: boolean) {
    this.#chance = chance;
    this.#plain = plain;
    for (let count = 0; count < 100 && chance.below(50) > 0; count++) this.#step();
  }

  #opening(as: string, directory: boolean): string {
    this.#files.delete(as);
    this.#directories.delete(as);
    (directory ? this.#directories : this.#files).add(as);
    return as;
  }

  #path(): Uint8Array {
    const { pick, one, below } = bound(this.#chance);
    // Where a NUL is noticed is each host's own affair.
    if (below(10) < 8) return bytes(pick(good) + pick(["", "", "", "", "", "", "", "", "/"]));
    if (one(12)) return pick(this.#plain ? odd.filter((path) => !path.includes(0)) : odd);
    const depth = pick([1, 1, 2, 2, 3, 4]);
    const path = Array.from({ length: depth }, () => pick(parts)).join("/");
    return bytes(
      `${path}${pick(["", "", "", "", "", "/", "/.", "//", "/.."])}${below(40) === 39 ? "/x" : ""}`,
    );
  }

  /** A directory to begin at. */
  #from(): Descriptor {
    const { pick, below } = bound(this.#chance);
    if (below(4) < 3) return 3;
    const at = [4, 3, ...this.#directories, pick(names)];
    return pick(this.#plain ? at : [...at, 5, 0, 99]);
  }

  #fd(): Descriptor {
    const { pick, below } = bound(this.#chance);
    if (below(8) < 7 && this.#files.size > 0) return pick([...this.#files]);
    return pick(this.#plain ? names : [...names, 3, 0, 1, 99]);
  }

  #named(): string {
    const open = [...this.#files, ...this.#directories];
    return this.#chance.pick(open.length > 0 ? open : names);
  }

  #lookup(): number {
    return this.#chance.below(2);
  }

  #buffers<Part>(from: readonly Part[]): readonly Part[] {
    const { pick } = bound(this.#chance);
    if (this.#plain) return [pick(from)];
    return Array.from({ length: pick([1, 1, 1, 2, 3, 0]) }, () => pick(from));
  }

  #place(): bigint {
    const at = this.#chance.pick(places);
    // Below zero, and not open for that: which of the two is told of is each host's own affair.
    return this.#plain && at < 0n ? 0n : at;
  }

  #rights(): bigint {
    return this.#chance.pick([
      rights.read | rights.write,
      rights.read | rights.write | rights.seek | rights.tell,
      rights.write,
      ...(this.#plain ? [] : [rights.read, 0n, rights.all]),
    ]);
  }

  #step(): void {
    const { pick, one } = bound(this.#chance);
    const plain = this.#plain;
    const add = (...steps: readonly Step[]): void => void this.steps.push(...steps);
    const looks: readonly (() => void)[] = [
      () => add(c("path_filestat_get", this.#from(), this.#lookup(), this.#path())),
      () => {
        const how = plain
          ? pick([0, create, create | exclusive, truncate, create | truncate])
          : pick([
              0,
              create,
              create | exclusive,
              truncate,
              create | truncate,
              directory,
              exclusive,
              7,
            ]);
        const flags = plain ? 0 : pick([0, 0, append, 4, 31]);
        add(
          open(this.#path(), this.#opening(pick(names), false), {
            at: this.#from(),
            lookup: this.#lookup(),
            oflags: how,
            rights: this.#rights(),
            flags,
          }),
        );
      },
      () =>
        add(
          open(this.#path(), this.#opening(pick(names), false), {
            at: this.#from(),
            lookup: this.#lookup(),
            rights: rights.read,
          }),
        ),
      () =>
        add(
          open(this.#path(), this.#opening(pick(names), true), {
            at: this.#from(),
            lookup: this.#lookup(),
            oflags: directory,
            rights: rights.read | rights.readdir,
          }),
        ),
      () => {
        const name = this.#opening(pick(names), false);
        const options = { oflags: create, rights: rights.read | rights.write, lookup: 1 };
        add(open(pick(good), name, options));
      },
      () => add(c("fd_readdir", this.#from(), 4096, 0n)),
      () => add(c("path_readlink", this.#from(), this.#path(), pick([100, 3, 0]))),
      () => add(c("fd_filestat_get", this.#fd())),
    ];
    const data: readonly (() => void)[] = [
      () => add(c("fd_write", this.#fd(), this.#buffers(texts))),
      () => add(c("fd_pwrite", this.#fd(), this.#buffers(texts), this.#place())),
      () => add(c("fd_read", this.#fd(), this.#buffers(rooms))),
      () => add(c("fd_pread", this.#fd(), this.#buffers(rooms), this.#place())),
      () => add(c("fd_seek", this.#fd(), pick(places), pick([0, 1, 2]))),
      () => add(c("fd_tell", this.#fd())),
      () => add(c("fd_filestat_set_size", this.#fd(), pick(places))),
      () => {
        const name = pick(names);
        this.#files.delete(name);
        this.#directories.delete(name);
        // Its number may come back for another descriptor, and when is a table's own affair.
        add(c("fd_close", name), { forget: name });
      },
    ];
    const changes: readonly (() => void)[] = [
      () => add(c("path_create_directory", this.#from(), this.#path())),
      () => add(c("path_unlink_file", this.#from(), this.#path())),
      () => {
        const path = Buffer.from(this.#path());
        // wasmtime refuses to remove a directory by a name with a slash behind it.
        const name = plain
          ? Buffer.from(path.toString("latin1").replace(/\/+$/, ""), "latin1")
          : path;
        add(c("path_remove_directory", this.#from(), name));
      },
      () => add(c("path_rename", this.#from(), this.#path(), this.#from(), this.#path())),
      () => {
        const lookup = plain ? 0 : this.#lookup();
        add(c("path_link", this.#from(), lookup, this.#path(), this.#from(), this.#path()));
      },
      () => add(c("path_symlink", this.#path(), this.#from(), this.#path())),
      () => {
        const known = [...this.#files, ...this.#directories, ...names];
        const [from, to] = [pick(known), pick(known)];
        add(c("fd_renumber", from, to));
        if (from !== to) add({ forget: from });
      },
    ];
    const own: readonly (() => void)[] = [
      () => add(c("fd_allocate", this.#fd(), pick(places), pick(places))),
      () => add(c("fd_fdstat_get", this.#fd())),
      () => add(c("fd_fdstat_set_flags", this.#fd(), pick([0, append, 31]))),
      () => {
        const [base, inheriting] = [this.#mask(), this.#mask()];
        add(c("fd_fdstat_set_rights", this.#named(), base, inheriting));
      },
      () =>
        add(
          c(
            "fd_readdir",
            this.#from(),
            pick([4096, 24, 51, 77, 100, 0]),
            pick([0n, 1n, 2n, 3n, 7n]),
          ),
        ),
      () => {
        const flags = pick([5, 1, 4, 2, 8, 10, 3, 15]);
        add(c("fd_filestat_set_times", this.#fd(), pick(times), pick(times), flags));
      },
      () => {
        const [at, lookup, path] = [this.#from(), this.#lookup(), this.#path()];
        const flags = pick([5, 1, 4, 2, 8, 10, 3, 15]);
        add(c("path_filestat_set_times", at, lookup, path, pick(times), pick(times), flags));
      },
      () => {
        const fds = Array.from({ length: pick([1, 2, 3]) }, () =>
          one(2) ? { read: this.#fd() } : { write: this.#fd() },
        );
        add(c("poll_oneoff", fds));
      },
      () => add(c("fd_sync", this.#fd())),
      () => add(c("fd_advise", this.#fd(), 0n, 0n, 0)),
    ];
    const groups = plain ? [looks, data, changes] : [looks, data, changes, own];
    pick(pick(groups))();
  }

  /** Nearly every right, or few. */
  #mask(): bigint {
    const { pick, below } = bound(this.#chance);
    const few = rights.read | rights.open | rights.readdir | rights.tell;
    return pick([
      few,
      0n,
      rights.read | rights.write | rights.seek | rights.poll,
      ((1n << 28n) - 1n) & ~(1n << 19n) & ~(1n << BigInt(below(28))),
    ]);
  }
}

/** The draws as functions of their own. */
function bound(chance: Chance): Pick<Chance, "pick" | "one" | "below"> {
  return {
    pick: <Value>(from: readonly Value[]): Value => chance.pick(from),
    one: (of) => chance.one(of),
    below: (limit) => chance.below(limit),
  };
}
