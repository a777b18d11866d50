/** How many steps run at once: of all, of one namespace, and of one workflow. */
export interface Ceilings {
  readonly steps: number;
  readonly namespaceSteps: number;
  readonly workflowSteps: number;
}

/**
 * What a workflow starts in one turn, of what a namespace may run at once: steps that go together end together, and their results are written in
 * one request.
 */
const turnShare = 1 / 4;

interface Job {
  readonly namespace: string;
  readonly workflow: string;
  readonly start: () => Promise<void>;
}

interface Group {
  running: number;
  /** Whose turn it is, and how many of its steps have gone in it. */
  turn: { readonly workflow: string; gone: number };
  /** By workflow, in the order of their turns. */
  readonly waiting: Map<string, Job[]>;
  readonly runningBy: Map<string, number>;
}

/** Whose turn it is: namespaces take turns, and the workflows of one do among themselves, so that nobody's loop keeps others waiting. */
export class FairQueue {
  readonly #ceilings: Ceilings;
  readonly #turnSteps: number;
  /** In the order of their turns. */
  readonly #groups = new Map<string, Group>();
  #running = 0;
  #waiting = 0;

  constructor(ceilings: Ceilings) {
    this.#ceilings = ceilings;
    this.#turnSteps = Math.ceil(Math.min(ceilings.steps, ceilings.namespaceSteps) * turnShare);
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Runs it when its turn comes; `start` never rejects. What comes back takes it out again while it waits. */
  add(job: Job): () => void {
    const group = this.#groups.get(job.namespace) ?? {
      running: 0,
      turn: { workflow: "", gone: 0 },
      waiting: new Map<string, Job[]>(),
      runningBy: new Map<string, number>(),
    };
    this.#groups.set(job.namespace, group);
    const jobs = group.waiting.get(job.workflow) ?? [];
    jobs.push(job);
    group.waiting.set(job.workflow, jobs);
    this.#waiting += 1;
    this.#fill();
    return () => {
      const list = group.waiting.get(job.workflow);
      const at = list?.indexOf(job) ?? -1;
      if (!list || at < 0) return;
      list.splice(at, 1);
      this.#waiting -= 1;
      if (list.length === 0) group.waiting.delete(job.workflow);
      this.#tidy(job.namespace, group);
    };
  }

  #fill(): void {
    for (let job = this.#next(); job; job = this.#next()) this.#run(job);
  }

  #next(): Job | undefined {
    if (this.#running >= this.#ceilings.steps) return undefined;
    for (const [namespace, group] of this.#groups) {
      if (group.running >= this.#ceilings.namespaceSteps) continue;
      for (const [workflow, jobs] of group.waiting) {
        if ((group.runningBy.get(workflow) ?? 0) >= this.#ceilings.workflowSteps) continue;
        const job = jobs.shift();
        if (group.turn.workflow !== workflow) group.turn = { workflow, gone: 0 };
        group.turn.gone += 1;
        if (jobs.length === 0 || group.turn.gone >= this.#turnSteps) {
          // Whoever had a turn goes to the end.
          group.turn = { workflow: "", gone: 0 };
          group.waiting.delete(workflow);
          if (jobs.length > 0) group.waiting.set(workflow, jobs);
        }
        this.#groups.delete(namespace);
        this.#groups.set(namespace, group);
        return job;
      }
    }
    return undefined;
  }

  #run(job: Job): void {
    const group = this.#groups.get(job.namespace);
    if (!group) return;
    this.#waiting -= 1;
    this.#running += 1;
    group.running += 1;
    group.runningBy.set(job.workflow, (group.runningBy.get(job.workflow) ?? 0) + 1);
    void job.start().finally(() => {
      this.#running -= 1;
      group.running -= 1;
      const left = (group.runningBy.get(job.workflow) ?? 1) - 1;
      if (left > 0) group.runningBy.set(job.workflow, left);
      else group.runningBy.delete(job.workflow);
      this.#tidy(job.namespace, group);
      this.#fill();
    });
  }

  #tidy(namespace: string, group: Group): void {
    if (group.running === 0 && group.waiting.size === 0) this.#groups.delete(namespace);
  }
}
