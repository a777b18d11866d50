import { codes, Failure, toFailure, type FailureRecord } from "../errors/mod.ts";
import type { Outcome } from "../functions/mod.ts";
import type { ApiResponse } from "./mod.ts";

const type = "application/problem+json";

/** A failure as a problem document (RFC 9457), with our code and whether a retry helps. */
export function problem(thrown: unknown, headers: readonly string[] = []): ApiResponse {
  const failure = thrown instanceof Failure ? thrown : toFailure(thrown);
  return problemOf(failure.toJSON(), headers);
}

function problemOf(
  failure: FailureRecord,
  headers: readonly string[] = [],
  more: Readonly<Record<string, unknown>> = {},
): ApiResponse {
  const { code, message, retryable, hint } = failure;
  const { status, summary } = codes[code];
  const document = {
    type: `https://atalanta.dev/problems/${code}`,
    title: summary,
    status,
    // What is wrong inside is for our log.
    detail: code === "internal" ? "A bug in Atalanta; the server's log has it" : message,
    code,
    retryable,
    ...(hint === undefined ? {} : { hint }),
    ...more,
  };
  const wait = status === 429 || status === 503 ? ["retry-after", "1"] : [];
  const ask = status === 401 ? ["www-authenticate", 'Bearer realm="atalanta"'] : [];
  return {
    status,
    headers: ["content-type", type, ...wait, ...ask, ...headers],
    body: JSON.stringify(document),
  };
}

/** What a function threw, or why it did not end. */
export function problemOfOutcome(
  outcome: Exclude<Outcome, { readonly kind: "returned" }>,
  headers: readonly string[] = [],
): ApiResponse {
  if (outcome.kind === "failed") {
    return problemOf(outcome.failure, headers, outcome.stack ? { stack: outcome.stack } : {});
  }
  const { name, message, data, stack } = outcome.error;
  return problemOf(new Failure("function-threw", message).toJSON(), headers, {
    name,
    ...(data === undefined ? {} : { data }),
    ...(stack ? { stack } : {}),
  });
}
