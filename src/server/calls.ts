import { Failure } from "../errors/mod.ts";
import type { CallRecord } from "../dispatch/mod.ts";
import type { ApiParts, Found, Route } from "./api.ts";
import { answer } from "./invoke.ts";
import type { ApiRequest, ApiResponse } from "./mod.ts";
import { problemOfOutcome } from "./problem.ts";

const longestWaitMs = 60_000;

/** Calls that nobody waits for: how they stand, what they gave, what they printed, and their end. */
export function callRoutes({ dispatcher, broken }: ApiParts): readonly Route[] {
  const found = async (at: Found): Promise<CallRecord> => {
    const [id = ""] = at.words;
    const record = await dispatcher.find(at.namespace, id);
    if (!record) throw unknownCall(at);
    return record;
  };
  return [
    {
      method: "GET",
      path: "/calls/{id}",
      scope: "read",
      async handle(_request, at) {
        return json(200, view(await found(at)));
      },
    },
    {
      method: "GET",
      path: "/calls/{id}/result",
      scope: "call",
      async handle(request, at) {
        const [id = ""] = at.words;
        const outcome = broken.get(at.namespace, id);
        if (outcome) return problemOfOutcome(outcome);
        const record = await waited(request, at);
        if (!record) throw unknownCall(at);
        if (record.ended) return answer(record, record.ended);
        const location = `/v1/namespaces/${at.namespace}/calls/${id}`;
        return {
          status: 202,
          headers: ["content-type", "application/json", "location", location, "retry-after", "1"],
          body: JSON.stringify(view(record)),
        };
      },
    },
    {
      method: "GET",
      path: "/calls/{id}/logs",
      scope: "read",
      async handle(_request, at) {
        const { ended } = await found(at);
        return {
          status: 200,
          headers: ["content-type", "text/plain; charset=utf-8"],
          body: ended?.log ?? "",
        };
      },
    },
    {
      method: "DELETE",
      path: "/calls/{id}",
      scope: "call",
      async handle(_request, at) {
        const record = await found(at);
        await dispatcher.cancel(at.namespace, record.id);
        return json(202, { id: record.id, state: record.state });
      },
    },
  ];

  /** With `?wait=SECONDS`, when it has ended or the time is over. */
  async function waited(request: ApiRequest, at: Found): Promise<CallRecord | undefined> {
    const [id = ""] = at.words;
    const seconds = Number(at.query.get("wait") ?? 0);
    if (!(seconds > 0)) return dispatcher.find(at.namespace, id);
    const late = AbortSignal.timeout(Math.min(longestWaitMs, seconds * 1000));
    return dispatcher.wait(at.namespace, id, AbortSignal.any([late, request.signal]));
  }
}

function view({ ended, ...record }: CallRecord): unknown {
  if (!ended) return record;
  const { outcome, usage, attempts, queueMs } = ended;
  return {
    ...record,
    end: outcome.kind === "failed" ? outcome.failure.code : outcome.kind,
    attempts,
    queueMs,
    usage,
  };
}

function json(status: number, value: unknown): ApiResponse {
  return { status, headers: ["content-type", "application/json"], body: JSON.stringify(value) };
}

function unknownCall({ words: [id = ""] }: Found): Failure {
  return new Failure("call-unknown", `There is no call "${id.slice(0, 100)}"`, {
    hint: "Only calls with Prefer: respond-async or an Idempotency-Key are kept, and their outcomes for a stated time.",
  });
}
