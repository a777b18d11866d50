import { isRecord, recordOf, textOf } from "../../kubernetes/mod.ts";
import { rewriteObject } from "../rewrite/mod.ts";

/** Said to whoever asked; a message ends in an error of kubectl, argo or the UI. */
const messageLength = 4000;

export interface Reviewed {
  /** An AdmissionReview, as the API server wants it. */
  readonly answer: unknown;
  readonly outcome: "untouched" | "rewritten" | "refused";
}

/**
 * Answers an AdmissionReview (admission.k8s.io/v1). `mutate` rewrites, and refuses what cannot be run; `validate` only refuses. Undefined for what is no review.
 */
export function review(body: unknown, how: "mutate" | "validate"): Reviewed | undefined {
  const request = recordOf(recordOf(body)["request"]);
  const uid = textOf(request["uid"]);
  if (uid === undefined) return undefined;
  const said = (response: object, outcome: Reviewed["outcome"]): Reviewed => ({
    answer: {
      apiVersion: "admission.k8s.io/v1",
      kind: "AdmissionReview",
      response: { uid, ...response },
    },
    outcome,
  });
  const { object } = request;
  if (!isRecord(object)) return said({ allowed: true }, "untouched");
  const { patch, problems } = rewriteObject(object);
  if (problems.length > 0) {
    const lines = problems.map(({ message, hint }) => (hint ? `${message} (${hint})` : message));
    const message = `atalanta: ${lines.join("; ")}`.slice(0, messageLength);
    const status = { code: 422, reason: "Invalid", message };
    return said({ allowed: false, status }, "refused");
  }
  if (how === "validate" || patch.length === 0) return said({ allowed: true }, "untouched");
  const encoded = Buffer.from(JSON.stringify(patch)).toString("base64");
  return said({ allowed: true, patchType: "JSONPatch", patch: encoded }, "rewritten");
}
