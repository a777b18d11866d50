import type { Step } from "../model.ts";
import type { NamespaceReader } from "./mod.ts";
import { TenantReader } from "./reader.ts";
import { Workflows } from "./workflows.ts";

const never = new AbortController().signal;

/** For executors of other templates: a key of a secret of the step's namespace, read as its workflow's service account. */
export function stepSecrets(
  reader: NamespaceReader,
): (step: Step, name: string, key: string) => Promise<Uint8Array> {
  const workflows = new Workflows(reader);
  return async (step, name, key) => {
    const facts = await workflows.when(step.workflow, ({ whole }) => whole, never);
    const serviceAccount = facts.serviceAccount(step.template);
    return new TenantReader(reader, step.workflow.namespace, serviceAccount).secret(name, key);
  };
}
