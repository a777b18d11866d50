import { setTimeout as delay } from "node:timers/promises";
import { Failure } from "../../errors/mod.ts";
import { orAborted } from "../../network/mod.ts";
import type { WorkflowIdentity } from "../model.ts";
import { remember } from "../remember.ts";
import type { NamespaceReader } from "./mod.ts";
import { WorkflowFacts, type Additions } from "./workflow.ts";

/** Workflows that are known at once; they can be large. */
const most = 100;
/** The engine writes a workflow down a moment after it has handed out its steps. */
const firstWaitMs = 3;
const longestWaitMs = 500;
const patienceMs = 20_000;
/** How long what the engine added to one workflow is taken for what it adds to the next. Its configuration changes seldom, and nothing tells. */
const assumedMs = 10_000;
/** Namespaces and wishes of their workflows of which that is known. */
const mostAssumed = 1000;
const never = new AbortController().signal;

interface Known {
  readonly facts: Promise<WorkflowFacts>;
  /** What the workflow wished for before it began; undefined when it was not seen so. */
  wishes: string | undefined;
  /** How long the server took for it. */
  tookMs: number;
  /** The next look, for all who wait for one. */
  next: Promise<WorkflowFacts> | undefined;
}

/** Looks up workflows, each as seldom as may be: a thousand steps of one ask for the same. */
export class Workflows {
  readonly #reader: NamespaceReader;
  readonly #traces: boolean;
  readonly #known = new Map<string, Known>();
  readonly #additions = new Map<string, Additions & { readonly until: number }>();

  /** With `traces` it matters which trace the engine writes into a workflow, so that nothing is assumed of one. */
  constructor(reader: NamespaceReader, { traces }: { readonly traces: boolean }) {
    this.#reader = reader;
    this.#traces = traces;
  }

  /** As it is once `ready` says so. Throws `argo-workflow` when that is never. */
  async when(
    identity: WorkflowIdentity,
    ready: (facts: WorkflowFacts) => boolean | Promise<boolean>,
    signal: AbortSignal,
  ): Promise<WorkflowFacts> {
    const until = performance.now() + patienceMs;
    let known = this.#known.get(identity.uid) ?? this.#look(identity);
    let facts = await orAborted(known.facts, signal);
    for (
      let waitMs = firstWaitMs;
      !(await ready(facts));
      waitMs = Math.min(waitMs * 2, longestWaitMs)
    ) {
      if (performance.now() > until) {
        throw new Failure(
          "argo-workflow",
          `The workflow ${identity.namespace}/${identity.name} does not say what its step needs`,
          {
            hint: "Look whether the workflow controller runs and can update the workflow.",
          },
        );
      }
      known = this.#known.get(identity.uid) ?? known;
      known.next ??= this.#later(identity, Math.max(waitMs, known.tookMs * 2));
      facts = await orAborted(known.next, signal);
    }
    return facts;
  }

  async #later(identity: WorkflowIdentity, waitMs: number): Promise<WorkflowFacts> {
    await delay(waitMs);
    return this.#look(identity).facts;
  }

  #look(identity: WorkflowIdentity): Known {
    const begun = performance.now();
    const before = this.#known.get(identity.uid);
    const facts = this.#read(identity, never).then((found) => this.#assume(identity, found));
    const looking: Known = { facts, wishes: before?.wishes, tookMs: 0, next: undefined };
    remember(this.#known, identity.uid, looking, most);
    facts.then(
      () => (looking.tookMs = performance.now() - begun),
      () => {
        if (this.#known.get(identity.uid) === looking) this.#known.delete(identity.uid);
      },
    );
    return looking;
  }

  /** What the engine adds is learned from a workflow that was seen before it began and after. */
  #assume({ namespace, uid }: WorkflowIdentity, facts: WorkflowFacts): WorkflowFacts {
    const known = this.#known.get(uid);
    if (known && !facts.begun) known.wishes = facts.wishes;
    const key = `${namespace}/${known?.wishes ?? facts.wishes}`;
    const { additions } = facts;
    if (additions) {
      const until = performance.now() + assumedMs;
      if (known?.wishes !== undefined) {
        remember(this.#additions, key, { ...additions, until }, mostAssumed);
      }
      return facts;
    }
    const assumed = this.#additions.get(key);
    if (!assumed || assumed.until < performance.now()) return facts;
    if (assumed.traced && this.#traces) return facts;
    return facts.assuming(assumed) ?? facts;
  }

  async #read(identity: WorkflowIdentity, signal: AbortSignal): Promise<WorkflowFacts> {
    const object = await this.#reader.workflow(identity, { signal });
    const facts = object && new WorkflowFacts(object);
    if (facts?.uid === identity.uid) return facts;
    throw new Failure(
      "argo-workflow",
      `The workflow ${identity.namespace}/${identity.name} is not there any more`,
    );
  }
}
