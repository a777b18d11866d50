import { Failure, toFailure } from "../../errors/mod.ts";
import { isRecord, listOf, recordOf, textOf } from "../../kubernetes/mod.ts";
import { isComplete, keyOf, locate, placeIn, withKey, type Place } from "../../places/mod.ts";
import type { Stores } from "../../stores/mod.ts";
import { nodesOf } from "../nodes.ts";
import type { Tenant } from "./tenants.ts";
import { WorkflowFacts } from "./workflow.ts";

/** When artifacts are deleted (Argo's `artifactGC.strategy`). */
export type CollectStrategy = "OnWorkflowCompletion" | "OnWorkflowDeletion";

/** Objects that are deleted at once. */
const together = 8;

interface Candidate {
  readonly name: string;
  readonly place: Place;
  /** It may lie there as many objects, since nobody packed it. */
  readonly isFolder: boolean;
  readonly serviceAccount: string;
}

export interface Collected {
  readonly deleted: number;
  /** What could not be deleted. */
  readonly failures: readonly Failure[];
}

/** Whether anything of a template's outputs is to be deleted some day; its log is one of them. */
export function isCollected(
  outputs: readonly Readonly<Record<string, unknown>>[],
  facts: WorkflowFacts,
): boolean {
  return outputs.some((artifact) => strategyOf(artifact, facts) !== undefined);
}

/** Deletes what a workflow's modules have left in stores, as far as it is due by one of these strategies. Argo itself looks at pods alone. */
export async function collectArtifacts(
  object: Readonly<Record<string, unknown>>,
  strategies: readonly CollectStrategy[],
  {
    tenant,
    stores,
    signal,
  }: {
    readonly tenant: (serviceAccount: string) => Tenant;
    readonly stores: Stores;
    readonly signal: AbortSignal;
  },
): Promise<Collected> {
  const failures: Failure[] = [];
  let deleted = 0;
  const candidates = await candidatesOf(object, strategies, failures);
  const remove = async ({ name, place, isFolder, serviceAccount }: Candidate): Promise<void> => {
    try {
      const { secrets, reader } = tenant(serviceAccount);
      const who = { secrets, own: [], identity: reader.identity };
      for (const one of [place, ...(isFolder ? [withKey(place, `${keyOf(place) ?? ""}/`)] : [])]) {
        await stores.delete(locate(one, who), { signal });
      }
      deleted += 1;
    } catch (thrown) {
      const { code, message } = toFailure(thrown);
      failures.push(
        new Failure(code, `The artifact "${name}" (${keyOf(place) ?? ""}): ${message}`),
      );
    }
  };
  for (let from = 0; from < candidates.length; from += together) {
    signal.throwIfAborted();
    await Promise.all(candidates.slice(from, from + together).map(remove));
  }
  return { deleted, failures };
}

async function candidatesOf(
  object: Readonly<Record<string, unknown>>,
  strategies: readonly CollectStrategy[],
  failures: Failure[],
): Promise<readonly Candidate[]> {
  const facts = new WorkflowFacts(object);
  const nodes = await nodesOf(recordOf(object["status"]));
  if (!nodes) {
    const message = "The nodes of the workflow lie in Argo's database, and cannot be read here";
    failures.push(new Failure("argo-workflow", message));
    return [];
  }
  const found = new Map<string, Candidate>();
  for (const node of Object.values(nodes).map(recordOf)) {
    if (node["type"] !== "Plugin" || !facts.runsWasm(textOf(node["templateName"]))) continue;
    for (const artifact of listOf(recordOf(node["outputs"])["artifacts"]).map(recordOf)) {
      const strategy = strategyOf(artifact, facts);
      if (!strategy || !strategies.includes(strategy) || artifact["deleted"] === true) continue;
      const place = placeOf(artifact, facts);
      if (!place) continue;
      const serviceAccount =
        textOf(recordOf(artifact["artifactGC"])["serviceAccountName"]) ?? facts.collectingAccount;
      // A step that was retried may have left the same twice.
      found.set(`${serviceAccount} ${JSON.stringify(place)}`, {
        name: textOf(artifact["name"]) ?? "",
        place,
        isFolder: isRecord(recordOf(artifact["archive"])["none"]),
        serviceAccount,
      });
    }
  }
  return [...found.values()];
}

/** The artifact's word goes before the workflow's. */
function strategyOf(
  artifact: Readonly<Record<string, unknown>>,
  facts: WorkflowFacts,
): CollectStrategy | undefined {
  const said = textOf(recordOf(artifact["artifactGC"])["strategy"]) || facts.collectStrategy;
  return said === "OnWorkflowCompletion" || said === "OnWorkflowDeletion" ? said : undefined;
}

function placeOf(
  artifact: Readonly<Record<string, unknown>>,
  facts: WorkflowFacts,
): Place | undefined {
  const said = placeIn(artifact);
  const key = said && keyOf(said);
  // Without a key it would be the whole bucket.
  if (!said || key === undefined || key === "") return undefined;
  if (isComplete(said)) return said;
  const base = facts.repository?.place;
  return base && isComplete(base) ? withKey(base, key) : undefined;
}
