import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { getRun, openJournal, type Journal, type RunState } from "../../src/workflow/mod.ts";
import { openArtifactStore } from "../../src/artifacts/mod.ts";

const root = resolve(import.meta.dirname, "../..");
/** One name for all, each in a data folder of its own: the names of nodes and keys must not make a difference. */
const name = "disturbed";

export interface FaultOptions {
  /** What comes after `atalanta run`: files and arguments. */
  readonly workflow: readonly string[];
  readonly runs: number;
  readonly seed: number;
  /** The command line; default: the built one. */
  readonly command?: string;
  readonly say?: (line: string) => void;
}

export interface FaultReport {
  readonly runs: number;
  readonly undisturbedMs: number;
  /** Processes that were killed, by how far the run was. */
  readonly kills: {
    readonly beforeBegin: number;
    readonly underWay: number;
    readonly afterEnd: number;
  };
  /** How many steps were accepted when a process was killed under way, each with how often. */
  readonly acceptedAtKill: ReadonlyMap<number, number>;
  /** Steps that printed something, over all runs, and in how many processes more than one a run they did so: work that was not accepted. */
  readonly repeated: number;
}

/**
 * Runs a workflow again and again, kills its process with SIGKILL at random moments, resumes it (and sometimes kills that as well), and
 * throws when anything differs from an undisturbed run: outputs, what was accepted before, or a step that ran although it was accepted.
 */
export async function disturb(options: FaultOptions): Promise<FaultReport> {
  const random = generator(options.seed);
  const base = mkdtempSync(join(tmpdir(), "atalanta-faults-"));
  const kills = { beforeBegin: 0, underWay: 0, afterEnd: 0 };
  const acceptedAtKill = new Map<number, number>();
  let repeated = 0;
  try {
    const quiet = new Home(join(base, "quiet"), options.command);
    const start = performance.now();
    const whole = quiet.process(["run", ...options.workflow, "--name", name, "--json", "--log"]);
    const { code, errors } = await whole.ended;
    const undisturbedMs = performance.now() - start;
    const { lines } = whole;
    expect(code === 0, `the undisturbed run ends with ${code}: ${errors()}`);
    const expected = await quiet.outcome();
    secondIsRefused(quiet, options.workflow);

    for (let round = 0; round < options.runs; round += 1) {
      const home = new Home(join(base, `run-${round}`), options.command);
      let accepted: readonly string[] = [];
      const printed = new Set<string>();
      for (let turn = 0; ; turn += 1) {
        const begun = home.hasRun();
        const args = begun ? ["resume", name] : ["run", ...options.workflow, "--name", name];
        const life = home.process([...args, "--json", "--log"]);
        // Three lives may be cut short; then it is let go to its end.
        const killed = turn < 3 && (turn === 0 || random() < 0.4);
        if (killed) await life.killSoon(random, undisturbedMs, lines);
        const end = await life.ended;
        const where = `seed ${options.seed}, run ${round}, process ${turn}`;
        for (const node of life.printed) {
          expect(!accepted.includes(node), `${where}: "${node}" ran again after it was accepted`);
          if (printed.has(node)) repeated += 1;
        }
        for (const node of life.printed) printed.add(node);
        if (end.code !== null) {
          expect(end.code === 0, `${where}: ends with ${end.code}: ${end.errors()}`);
          break;
        }
        const events = home.hasRun() ? home.events() : [];
        home.checkAccepted(where);
        accepted = home.accepted();
        if (events.length === 0) kills.beforeBegin += 1;
        else if (home.hasEnded()) {
          kills.afterEnd += 1;
          break;
        } else {
          kills.underWay += 1;
          acceptedAtKill.set(accepted.length, (acceptedAtKill.get(accepted.length) ?? 0) + 1);
        }
        home.remember(events, where);
      }
      home.remember(home.events(), `seed ${options.seed}, run ${round}, at its end`);
      home.checkAccepted(`seed ${options.seed}, run ${round}, at its end`);
      const outcome = await home.outcome();
      expect(
        JSON.stringify(outcome) === JSON.stringify(expected),
        `seed ${options.seed}, run ${round}: ${JSON.stringify(outcome)} is not ${JSON.stringify(expected)}`,
      );
      home[Symbol.dispose]();
      options.say?.(`run ${round}: as undisturbed`);
    }
    return { runs: options.runs, undisturbedMs, kills, acceptedAtKill, repeated };
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}

/** While a process has a run, another one neither runs it nor deletes it. */
function secondIsRefused(home: Home, workflow: readonly string[]): void {
  using journal = home.journal();
  using claim = journal.create(
    { ...journal.read(name).begin, name: "busy", uid: "busy" },
    Date.now(),
  );
  for (const args of [
    ["run", ...workflow, "--name", claim.name],
    ["delete", claim.name],
  ]) {
    const { status, stderr } = spawnSync(process.execPath, [home.command, ...args], {
      cwd: root,
      env: home.environment,
      encoding: "utf8",
    });
    expect(status === 2 && /busy/.test(stderr), `a second "${args[0]}" is not refused: ${stderr}`);
  }
}

/** A data folder with one run, and the processes that carry it on. */
class Home implements Disposable {
  readonly #folder: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly command: string;
  #before: readonly string[] = [];

  constructor(folder: string, command: string = join(root, "bin/atalanta.js")) {
    this.#folder = folder;
    this.command = command;
    this.environment = {
      PATH: process.env["PATH"] ?? "",
      HOME: folder,
      TMPDIR: tmpdir(),
      ATALANTA_HOME: folder,
    };
  }

  process(args: readonly string[]): Life {
    return new Life(
      spawn(process.execPath, [this.command, ...args], {
        cwd: root,
        env: this.environment,
        stdio: ["ignore", "pipe", "pipe"],
      }),
    );
  }

  journal(): Journal {
    return openJournal({ folder: this.#folder });
  }

  hasRun(): boolean {
    using journal = this.journal();
    return journal.list().some((run) => run.name === name);
  }

  hasEnded(): boolean {
    using journal = this.journal();
    return journal.list()[0]?.finishedAt !== undefined;
  }

  events(): readonly string[] {
    using journal = this.journal();
    return [...journal.read(name).events].map((event) => JSON.stringify(event));
  }

  /** Nodes whose end is in the journal. */
  accepted(): readonly string[] {
    if (!this.hasRun()) return [];
    using journal = this.journal();
    return [...journal.read(name).events].flatMap((event) =>
      event.type === "ended" ? [event.node] : [],
    );
  }

  /** One end for each piece of work. */
  checkAccepted(where: string): void {
    if (!this.hasRun()) return;
    using journal = this.journal();
    const seen = new Set<string>();
    for (const event of journal.read(name).events) {
      if (event.type !== "ended") continue;
      const work = `${event.node} ${event.attempt}`;
      expect(!seen.has(work), `${where}: "${work}" was accepted twice`);
      seen.add(work);
    }
  }

  /** What was in the journal stays in it. */
  remember(events: readonly string[], where: string): void {
    for (const [at, event] of this.#before.entries()) {
      expect(event === events[at], `${where}: record ${at} was ${event} and is ${events[at]}`);
    }
    this.#before = events;
  }

  /** Phases and outputs, with every artifact read through its digest. */
  async outcome(): Promise<unknown> {
    using journal = this.journal();
    const state: RunState = getRun(journal, name);
    const store = await openArtifactStore({ folder: join(this.#folder, "artifacts") });
    for (const { name: artifact, artifact: source } of state.outputs.artifacts) {
      if (source.kind !== "stored") continue;
      await store.exportTo(source.artifact, join(this.#folder, "check", artifact));
    }
    const nodes = [...state.nodes.values()].map(({ name: node, phase, outputs }) => ({
      node,
      phase,
      outputs,
    }));
    return {
      phase: state.phase,
      outputs: state.outputs,
      nodes: nodes.toSorted((left, right) => (left.node < right.node ? -1 : 1)),
    };
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

interface End {
  /** Null when it was killed. */
  readonly code: number | null;
  readonly errors: () => string;
}

/** A process of the command line. */
class Life {
  readonly ended: Promise<End>;
  /** Nodes whose program has printed something in this process: the effect of a step that can be seen outside. */
  readonly printed = new Set<string>();
  readonly #child: ChildProcess;
  lines = 0;
  #onLine: (() => void) | undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
    let errors = "";
    child.stderr?.on("data", (bytes: Buffer) => (errors += bytes.toString()));
    if (child.stdout) {
      createInterface(child.stdout).on("line", (line) => {
        this.lines += 1;
        const node = outputOf(line);
        if (node !== undefined) this.printed.add(node);
        this.#onLine?.();
      });
    }
    this.ended = new Promise((done) => {
      child.on("close", (code) => done({ code, errors: () => errors }));
    });
  }

  /** After a random time, or as soon as a random number of lines was printed, which is right beside a write to the journal. */
  async killSoon(random: () => number, withinMs: number, withinLines: number): Promise<void> {
    const byLine = random() < 0.6;
    const part = random();
    const lines = Math.ceil(part * withinLines);
    const delay = part * withinMs;
    await Promise.race([
      this.ended,
      new Promise<void>((done) => {
        if (!byLine) setTimeout(done, delay);
        else {
          this.#onLine = () => {
            if (this.lines >= lines) done();
          };
        }
      }),
    ]);
    this.#child.kill("SIGKILL");
  }
}

/** The node of an `output` event. */
function outputOf(line: string): string | undefined {
  // A killed process leaves half a line.
  if (!line.startsWith("{") || !line.endsWith("}")) return undefined;
  try {
    const event: unknown = JSON.parse(line);
    if (typeof event !== "object" || event === null || !("type" in event) || !("node" in event)) {
      return undefined;
    }
    return event.type === "output" && typeof event.node === "string" ? event.node : undefined;
  } catch {
    return undefined;
  }
}

function expect(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Error(message);
}

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
