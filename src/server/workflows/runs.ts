import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Dispatcher } from "../../dispatch/mod.ts";
import { readBundle } from "../../document/mod.ts";
import { Failure, toFailure } from "../../errors/mod.ts";
import type { Limits } from "../../limits/mod.ts";
import {
  beginRun,
  getRun,
  openJournal,
  resumeRun,
  runWorkflow,
  type Claim,
  type Journal,
  type Outcome,
  type Target,
  type RunState,
  type RunWorkflowOptions,
} from "../../workflow/mod.ts";

export interface RunsOptions {
  /** Holds a journal for each namespace. */
  readonly folder: string;
  readonly dispatcher: Dispatcher;
  readonly limits: Limits;
  readonly resolveImage: NonNullable<RunWorkflowOptions["resolveImage"]>;
  /** The whole of a log or another small artifact. */
  readonly read: (artifact: Parameters<ArtifactReader>[0]) => Promise<Uint8Array>;
  /** Runs of one namespace that go on at once (default 1,000); further ones are refused. */
  readonly mostOfNamespace?: number;
  /** Told of runs that cannot go on. */
  readonly onTrouble?: (failure: Failure) => void;
}

type ArtifactReader = (
  artifact: NonNullable<ReturnType<RunState["nodes"]["get"]>>["log"] & object,
) => Promise<Uint8Array>;

interface Going {
  readonly ended: Promise<RunState>;
  readonly stop: AbortController;
  /** Called after each change. */
  readonly listeners: Set<() => void>;
}

/** Namespaces that may have runs here. */
const mostNamespaces = 1000;

/** Runs of all namespaces. Each namespace has a journal of its own, so that no name or lock of one is seen by another. */
export class Runs implements AsyncDisposable {
  readonly options: RunsOptions;
  readonly #journals = new Map<string, Journal>();
  readonly #askers = new Map<string, Journal>();
  readonly #going = new Map<string, Going>();
  readonly #closing = new AbortController();

  constructor(options: RunsOptions) {
    this.options = options;
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  }

  /** Goes on with what was interrupted when the process before ended. */
  recover(): void {
    for (const namespace of readdirSync(this.options.folder)) {
      const journal = this.journal(namespace);
      for (const run of journal.list()) {
        if (run.finishedAt === undefined && !run.live && !run.suspended)
          void this.goOn(namespace, run.name, resumeRun).catch(() => undefined);
      }
    }
  }

  journal(namespace: string): Journal {
    let journal = this.#journals.get(namespace);
    if (journal) return journal;
    if (this.#journals.size >= mostNamespaces) {
      throw new Failure("queue-full", `${mostNamespaces} namespaces have runs here already`);
    }
    const folder = join(this.options.folder, namespace);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    journal = openJournal({ folder });
    this.#journals.set(namespace, journal);
    return journal;
  }

  /** Begins a run; it goes on by itself. Throws `workflow-invalid` with the first mistake of the document. */
  begin(
    namespace: string,
    text: string,
    asked: { readonly parameters: Readonly<Record<string, string>>; readonly name?: string },
  ): string {
    const { limits, mostOfNamespace = 1000 } = this.options;
    const going = [...this.#going.keys()].filter((key) => key.startsWith(`${namespace}/`)).length;
    if (going >= mostOfNamespace) {
      throw new Failure("queue-full", `${going} runs of ${namespace} go on already`, {
        hint: "Wait until one has ended.",
      });
    }
    const { bundle, problems } = readBundle([{ file: "workflow.yaml", text }], {
      parameters: Object.keys(asked.parameters),
      limits,
      folder: "/",
    });
    const [first] = problems;
    if (!bundle) throw first ?? new Failure("workflow-invalid", "The document has no workflow");
    const journal = this.journal(namespace);
    const { name, parameters } = asked;
    const claim = beginRun({
      journal,
      bundle,
      parameters,
      ...(name === undefined ? {} : { name }),
    });
    this.#carry(namespace, claim);
    return claim.name;
  }

  /** Waits until a run has ended, or the signal. */
  async wait(namespace: string, name: string, signal: AbortSignal): Promise<void> {
    const going = this.#going.get(`${namespace}/${name}`);
    if (!going) return;
    const left = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.race([going.ended.catch(() => undefined), left]);
  }

  /** Resolves at the next change of a run, when it has ended, or after a moment: another process may have it. */
  changed(namespace: string, name: string, signal: AbortSignal): Promise<void> {
    const going = this.#going.get(`${namespace}/${name}`);
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        going?.listeners.delete(done);
        resolve();
      };
      const timer = setTimeout(done, lookMs);
      signal.addEventListener("abort", done, { once: true });
      going?.listeners.add(done);
      going?.ended.catch(() => undefined).finally(done);
    });
  }

  state(namespace: string, name: string): RunState {
    return getRun(this.journal(namespace), name);
  }

  /** What a verb needs; where no process has the run, to carry it on itself. */
  target(namespace: string, name: string): Target {
    const { resolveImage } = this.options;
    const here = this.#going.has(`${namespace}/${name}`);
    return {
      // Who runs it sees what another connection writes, and not what its own does.
      journal: here ? this.#asking(namespace) : this.journal(namespace),
      name,
      dispatcher: this.#dispatcher(namespace),
      resolveImage,
    };
  }

  /** Goes on with a run, behind the request that asked for it. */
  goOn(
    namespace: string,
    name: string,
    work: (target: Target) => Promise<Outcome | RunState>,
  ): Promise<unknown> {
    const target = this.target(namespace, name);
    if (this.#going.has(`${namespace}/${name}`)) return work(target);
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.#closing.signal]);
    const ended = work({ ...target, signal }).then((outcome) => {
      if (!("kind" in outcome)) return outcome;
      return outcome.kind === "done" ? outcome.state : this.state(namespace, name);
    });
    this.#keep(namespace, name, { ended, stop, listeners: new Set() });
    return ended;
  }

  #asking(namespace: string): Journal {
    let journal = this.#askers.get(namespace);
    if (journal) return journal;
    journal = openJournal({ folder: join(this.options.folder, namespace) });
    this.#askers.set(namespace, journal);
    return journal;
  }

  #carry(namespace: string, claim: Claim): void {
    const stop = new AbortController();
    const listeners = new Set<() => void>();
    const { resolveImage } = this.options;
    const ended = runWorkflow({
      claim,
      dispatcher: this.#dispatcher(namespace),
      resolveImage,
      signal: AbortSignal.any([stop.signal, this.#closing.signal]),
      onChange: () => {
        for (const listener of listeners) listener();
      },
    }).finally(() => claim[Symbol.dispose]());
    this.#keep(namespace, claim.name, { ended, stop, listeners });
  }

  #keep(namespace: string, name: string, going: Going): void {
    const key = `${namespace}/${name}`;
    this.#going.set(key, going);
    going.ended
      .catch((thrown: unknown) => {
        const failure = toFailure(thrown);
        if (failure.code !== "aborted") this.options.onTrouble?.(failure);
      })
      .finally(() => this.#going.delete(key));
  }

  /** Guests of a namespace belong to it. */
  #dispatcher(namespace: string): Dispatcher {
    const { dispatcher } = this.options;
    return {
      capacity: dispatcher.capacity,
      dispatch: (task, options) => dispatcher.dispatch({ ...task, owner: namespace }, options),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  /** Stops guests and leaves runs as they are; the next process goes on with them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Failure("aborted", "The process ends"));
    await Promise.allSettled([...this.#going.values()].map(({ ended }) => ended));
    for (const journal of [...this.#journals.values(), ...this.#askers.values()])
      journal[Symbol.dispose]();
  }
}

const lookMs = 1000;
