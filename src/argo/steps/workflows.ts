import { setTimeout as delay } from "node:timers/promises";
import { Failure } from "../../errors/mod.ts";
import type { WorkflowIdentity } from "../model.ts";
import type { NamespaceReader } from "./mod.ts";
import { WorkflowFacts } from "./workflow.ts";

/** Workflows that are known at once; they can be large. */
const most = 500;
/** The engine writes a workflow down a moment after it has handed out its steps. */
const firstWaitMs = 3;
const longestWaitMs = 500;
const patienceMs = 20_000;

/** Looks up workflows, each as seldom as may be. */
export class Workflows {
  readonly #reader: NamespaceReader;
  readonly #known = new Map<string, Promise<WorkflowFacts>>();

  constructor(reader: NamespaceReader) {
    this.#reader = reader;
  }

  /** As it was at some time. */
  get(identity: WorkflowIdentity, signal: AbortSignal): Promise<WorkflowFacts> {
    return this.#known.get(identity.uid) ?? this.#look(identity, signal);
  }

  /** As it is once `ready` says so. Throws `argo-workflow` when that is never. */
  async when(
    identity: WorkflowIdentity,
    ready: (facts: WorkflowFacts) => boolean,
    signal: AbortSignal,
  ): Promise<WorkflowFacts> {
    const until = performance.now() + patienceMs;
    let facts = await this.get(identity, signal);
    for (let waitMs = firstWaitMs; !ready(facts); waitMs = Math.min(waitMs * 2, longestWaitMs)) {
      if (performance.now() > until) {
        throw new Failure(
          "argo-workflow",
          `The workflow ${identity.namespace}/${identity.name} does not say what its step needs`,
          {
            hint: "Look whether the workflow controller runs and can update the workflow.",
          },
        );
      }
      await delay(waitMs, undefined, { signal });
      facts = await this.#look(identity, signal);
    }
    return facts;
  }

  /** Steps that ask together share the answer. */
  #look(identity: WorkflowIdentity, signal: AbortSignal): Promise<WorkflowFacts> {
    const looking = this.#read(identity, signal);
    this.#known.delete(identity.uid);
    this.#known.set(identity.uid, looking);
    looking.catch(() => {
      if (this.#known.get(identity.uid) === looking) this.#known.delete(identity.uid);
    });
    const [oldest] = this.#known.keys();
    if (this.#known.size > most && oldest !== undefined) this.#known.delete(oldest);
    return looking;
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
