import { Failure } from "../errors/mod.ts";
import type { StoredArtifact } from "../task/mod.ts";
import type { Claim, Journal, Requested, RunSummary } from "./journal/mod.ts";
import type { RunNode, RunState } from "./plan/mod.ts";
import { carryOn, replay, type Replayed, type RunWorkflowOptions } from "./run.ts";

/** A run that a verb is about, and how this process carries it on where no other one does. */
export interface Target extends Omit<RunWorkflowOptions, "claim"> {
  readonly journal: Journal;
  readonly name: string;
}

/** A living process was asked and does it within a fraction of a second; or this process did it, up to where the run is now. */
export type Outcome =
  | { readonly kind: "asked" }
  | { readonly kind: "done"; readonly state: RunState };

export type NodeSelector = (node: RunNode) => boolean;

/** Newest first. */
export function listRuns(journal: Journal): readonly RunSummary[] {
  return journal.list();
}

/** The run as its journal tells it, whoever runs it. */
export function getRun(journal: Journal, name: string): RunState {
  return replay(journal.read(name)).planner.state;
}

/** Lets running steps end and starts no others but the exit handlers. */
export function stopRun(
  target: Target,
  options: { readonly message?: string } = {},
): Promise<Outcome> {
  return ask(target, { type: "shutdown", strategy: "Stop", ...options });
}

/** Ends the run at once, without exit handlers. */
export function terminateRun(
  target: Target,
  options: { readonly message?: string } = {},
): Promise<Outcome> {
  return ask(target, { type: "shutdown", strategy: "Terminate", ...options });
}

/** Starts nothing more until `resumeRun`. */
export function suspendRun(target: Target): Promise<Outcome> {
  return ask(target, { type: "suspended" }, true);
}

export interface ResumeOptions {
  /** Suspend nodes that go on; all of them and the run itself when absent. */
  readonly select?: NodeSelector;
  /** For output parameters with `valueFrom.supplied`. */
  readonly parameters?: Readonly<Record<string, string>>;
}

/**
 * Goes on with what waits for a person, and with a run whose process died. A run that was interrupted while something else than a person
 * was waited for just goes on: its suspend nodes keep waiting unless they are selected.
 */
export async function resumeRun(target: Target, options: ResumeOptions = {}): Promise<Outcome> {
  const { parameters } = options;
  const resumed = (state: RunState): Requested => {
    const nodes = options.select && selected(state, options.select);
    return { type: "resumed", ...(nodes ? { nodes } : {}), ...(parameters ? { parameters } : {}) };
  };
  using claim = claimUnlessLive(target);
  if (!claim) {
    target.journal.request(target.name, resumed(getRun(target.journal, target.name)));
    return { kind: "asked" };
  }
  refuseEnded(claim);
  const state = await carryOn({ ...target, claim }, (found) => {
    const asked = options.select !== undefined || parameters !== undefined;
    return asked || waitsForPerson(found) ? [resumed(found.planner.state)] : [];
  });
  return { kind: "done", state };
}

export interface RetryOptions {
  /** Also runs again what succeeded and is selected. */
  readonly restartSuccessful?: boolean;
  readonly select?: NodeSelector;
  /** New values of the workflow's parameters. */
  readonly parameters?: Readonly<Record<string, string>>;
}

/** Takes up a run that ended: what failed runs again, what succeeded stays. */
export async function retryRun(target: Target, options: RetryOptions = {}): Promise<RunState> {
  using claim = target.journal.claim(target.name);
  const { phase, finishedAt } = claim.summary;
  if (finishedAt === undefined) {
    throw new Failure("invalid-argument", `The run "${target.name}" has not ended`, {
      hint: `Go on with: atalanta resume ${target.name}`,
    });
  }
  const restartSuccessful = options.restartSuccessful ?? false;
  if (phase === "Succeeded" && !(restartSuccessful && options.select)) {
    throw new Failure("invalid-argument", `The run "${target.name}" has succeeded`, {
      hint: "To run parts of it again, give --restart-successful and --node-field-selector.",
    });
  }
  return carryOn({ ...target, claim }, ({ planner: { state } }) => {
    const nodes = [...state.nodes.values()].filter((node) => options.select?.(node) ?? false);
    return [
      {
        type: "retried",
        restartSuccessful,
        nodes: nodes.map(({ id }) => id),
        parameters: options.parameters ?? {},
      },
    ];
  });
}

/** Forgets a run; refused while a process runs it. Its artifacts stay until what `liveArtifacts` does not name is removed. */
export function deleteRun(journal: Journal, name: string): void {
  journal.delete(name);
}

export interface NodeLog {
  readonly node: RunNode;
  readonly log: StoredArtifact;
}

/**
 * Logs of the leaves that have written something, in the order in which they began. `node` is an id, a name or a display
 * name; that of a loop or of a step that is retried stands for its items and attempts, `page` for `page(0:a)` too.
 */
export function logsOf(state: RunState, node?: string): readonly NodeLog[] {
  const nodes = [...state.nodes.values()].filter(
    ({ id, name, displayName }) =>
      node === undefined ||
      id === node ||
      [name, displayName].some((own) => own === node || own.startsWith(`${node}(`)),
  );
  if (node !== undefined && nodes.length === 0) {
    throw new Failure("not-found", `The run "${state.begin.name}" has no node "${node}"`, {
      hint: `See its nodes with: atalanta get ${state.begin.name}`,
    });
  }
  return nodes
    .flatMap((item) => (item.log ? [{ node: item, log: item.log }] : []))
    .toSorted((left, right) => left.node.startedAt - right.node.startedAt);
}

async function ask(target: Target, requested: Requested, leave = false): Promise<Outcome> {
  using claim = claimUnlessLive(target);
  if (!claim) {
    target.journal.request(target.name, requested);
    return { kind: "asked" };
  }
  refuseEnded(claim);
  const state = await carryOn({ ...target, claim }, () => [requested], leave);
  return { kind: "done", state };
}

function claimUnlessLive({ journal, name }: Target): Claim | undefined {
  try {
    return journal.claim(name);
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === "journal-busy") return undefined;
    throw thrown;
  }
}

function refuseEnded({ name, summary }: Claim): void {
  if (summary.finishedAt === undefined) return;
  throw new Failure("invalid-argument", `The run "${name}" has ended: ${summary.phase}`, {
    hint: `Look at it with: atalanta get ${name}`,
  });
}

function isActiveSuspend({ type, phase }: RunNode): boolean {
  return type === "Suspend" && phase === "Running";
}

function selected(state: RunState, select: NodeSelector): readonly string[] {
  const waiting = [...state.nodes.values()].filter(isActiveSuspend);
  const nodes = waiting.filter(select).map(({ id }) => id);
  if (nodes.length > 0) return nodes;
  const names = waiting.map(({ displayName }) => displayName).join(", ");
  throw new Failure("invalid-argument", "No suspended node matches the selector", {
    hint: names === "" ? "No node is suspended." : `Suspended are: ${names}.`,
  });
}

/** Whether nothing but `resume` would bring it on. */
function waitsForPerson({ planner: { state }, outstanding }: Replayed): boolean {
  if (state.suspended) return true;
  const { work, asked, recalls, wakes } = outstanding;
  const busy = work.size + asked.size + recalls.size + wakes.size > 0;
  return !busy && [...state.nodes.values()].some(isActiveSuspend);
}
