import { createHash } from "node:crypto";
import type { Deployment, Program, RetryPolicy } from "../../functions/mod.ts";
import type { Call } from "./model.ts";

/** What is called: a deployment, or a module that somebody names. */
export type Callee =
  | { readonly kind: "deployment"; readonly deployment: Deployment }
  | {
      readonly kind: "module";
      readonly owner: string;
      readonly name: string;
      readonly program: Program;
    };

const moduleRetry: RetryPolicy = { attempts: 3, backoffMs: 100, mostBackoffMs: 10_000 };

/**
 * Makes a call. With an idempotency key its id follows from the key, so that every front end finds the same call; otherwise it has the given one.
 */
export function callOf(
  callee: Callee,
  asked: Pick<Call, "function" | "arguments" | "input" | "key" | "traceparent" | "budgetMs">,
  id: string,
): Call {
  const owner = callee.kind === "deployment" ? callee.deployment.namespace : callee.owner;
  const target = callee.kind === "deployment" ? `${owner}/${callee.deployment.name}` : callee.name;
  const { key } = asked;
  return {
    ...asked,
    id: key === undefined ? id : `k${digest([owner, target, asked.function, key])}`,
    owner,
    target,
    ...(key === undefined ? {} : { fingerprint: digest([asked.arguments, asked.input]) }),
    ...(callee.kind === "deployment"
      ? {
          program: callee.deployment.program,
          retry: callee.deployment.retry,
          pure: callee.deployment.pure.includes(asked.function),
          ...(callee.deployment.concurrency === undefined
            ? {}
            : { concurrency: callee.deployment.concurrency }),
        }
      : { program: callee.program, retry: moduleRetry, pure: false }),
  };
}

function digest(parts: readonly (string | Uint8Array | undefined)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) {
    const bytes = part === undefined ? undefined : Buffer.from(part);
    hash.update(`${bytes?.length ?? -1} `);
    if (bytes) hash.update(bytes);
  }
  return hash.digest("base64url").slice(0, 32);
}
