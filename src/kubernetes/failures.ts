import { Failure } from "../errors/mod.ts";
import { recordOf, textOf } from "./json.ts";

/** What a server answered instead of what was asked for. */
export class Refusal extends Failure {
  readonly status: number;
  /** Of the API: `Forbidden`, `Expired`, `AlreadyExists` … */
  readonly reason: string;
  /** When it may be asked again, as far as it says. */
  readonly afterMs: number | undefined;

  constructor(
    code: Failure["code"],
    message: string,
    about: { status: number; reason: string; afterMs: number | undefined; hint?: string },
  ) {
    super(code, message, about.hint === undefined ? {} : { hint: about.hint });
    this.status = about.status;
    this.reason = about.reason;
    this.afterMs = about.afterMs;
  }
}

const shownLength = 1000;

/** Puts an answer of the API that is not a good one into words. */
export function refusal(answer: {
  readonly status: number;
  readonly retryAfter?: string | undefined;
  readonly text: string;
  readonly label: string;
}): Refusal {
  const { status, retryAfter, text, label } = answer;
  const said = statusOf(text);
  const reason = said?.reason ?? "";
  const message = (said?.message ?? text.trim() ?? "").slice(0, shownLength) || `status ${status}`;
  const afterMs = /^\d{1,6}$/.test(retryAfter ?? "") ? Number(retryAfter) * 1000 : undefined;
  const about = { status, reason, afterMs };
  const told = `${label}: ${message}`;
  if (status === 401) {
    return new Refusal("cluster-refused", told, {
      ...about,
      hint: "Log in again, or check the token or certificate of the user in the kubeconfig.",
    });
  }
  if (status === 403) {
    return new Refusal("cluster-refused", told, {
      ...about,
      hint: "Give this user or service account a role that allows it.",
    });
  }
  if (status === 404) return new Refusal("cluster-missing", told, about);
  if (status === 409) return new Refusal("cluster-conflict", told, about);
  const busy = status === 408 || status === 410 || status === 429 || status >= 500;
  return new Refusal(busy ? "cluster-unavailable" : "cluster-invalid", told, about);
}

/** The `Status` object of an answer. */
function statusOf(text: string): { readonly reason: string; readonly message: string } | undefined {
  try {
    const { reason, message } = recordOf(JSON.parse(text));
    return { reason: textOf(reason) ?? "", message: textOf(message) ?? "" };
  } catch {
    return undefined;
  }
}
