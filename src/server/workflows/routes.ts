import { Failure } from "../../errors/mod.ts";
import {
  deleteRun,
  logsOf,
  resumeRun,
  retryRun,
  stopRun,
  summaryJson,
  suspendRun,
  terminateRun,
  workflowJson,
} from "../../workflow/mod.ts";
import type { Found, Route } from "../api.ts";
import type { ApiRequest, ApiResponse } from "../mod.ts";
import type { Runs } from "./runs.ts";

const documentBytes = 8 * 1024 * 1024;
const longestWaitMs = 10 * 60_000;
const mostListed = 500;

/** The embedded workflow engine over HTTP. */
export function workflowRoutes(runs: Runs): readonly Route[] {
  const named = ({ words: [name = ""] }: Found): string => name;
  const verb = (
    path: string,
    act: (request: ApiRequest, at: Found) => Promise<unknown>,
  ): Route => ({
    method: "POST",
    path: `/workflows/{name}/${path}`,
    scope: "workflows",
    async handle(request, at) {
      await act(request, at);
      return json(200, workflowJson(runs.state(at.namespace, named(at))));
    },
  });
  const target = (at: Found): ReturnType<Runs["target"]> => runs.target(at.namespace, named(at));
  /** What carries a run on goes on when the request has been answered. */
  const begun = async (going: Promise<unknown>): Promise<void> => {
    await Promise.race([going, new Promise((resolve) => setTimeout(resolve, 100))]);
    going.catch(() => undefined);
  };
  return [
    {
      method: "POST",
      path: "/workflows",
      scope: "workflows",
      async handle(request, at) {
        const text = Buffer.from(await request.read(documentBytes)).toString();
        const name = at.query.get("name");
        const started = runs.begin(at.namespace, text, {
          parameters: parametersOf(at.query),
          ...(name === null ? {} : { name }),
        });
        const location = `/v1/namespaces/${at.namespace}/workflows/${started}`;
        const seconds = Number(at.query.get("wait") ?? 0);
        if (seconds > 0) {
          const late = AbortSignal.timeout(Math.min(longestWaitMs, seconds * 1000));
          await runs.wait(at.namespace, started, AbortSignal.any([late, request.signal]));
        }
        const state = runs.state(at.namespace, started);
        return json(state.finishedAt === undefined ? 202 : 201, workflowJson(state), [
          "location",
          location,
        ]);
      },
    },
    {
      method: "GET",
      path: "/workflows",
      scope: "workflows",
      handle(_request, { namespace, query }) {
        const limit = Math.min(mostListed, Math.max(1, Number(query.get("limit") ?? 100) || 100));
        const after = query.get("after");
        const all = runs.journal(namespace).list();
        const from = after === null ? 0 : all.findIndex(({ name }) => name === after) + 1;
        const items = all.slice(from, from + limit);
        const last = from + limit < all.length ? items.at(-1)?.name : undefined;
        return Promise.resolve(
          json(200, {
            items: items.map(summaryJson),
            ...(last === undefined ? {} : { next: last }),
          }),
        );
      },
    },
    {
      method: "GET",
      path: "/workflows/{name}",
      scope: "workflows",
      handle: (_request, at) =>
        Promise.resolve(json(200, workflowJson(runs.state(at.namespace, named(at))))),
    },
    {
      method: "GET",
      path: "/workflows/{name}/events",
      scope: "workflows",
      handle: (request, at) => Promise.resolve(events(runs, request, { ...at, name: named(at) })),
    },
    {
      method: "GET",
      path: "/workflows/{name}/logs",
      scope: "workflows",
      handle(_request, at) {
        const state = runs.state(at.namespace, named(at));
        const logs = logsOf(state, at.query.get("node") ?? undefined);
        return Promise.resolve({
          status: 200,
          headers: ["content-type", "text/plain; charset=utf-8"],
          async stream(write) {
            for (const { node, log } of logs) {
              const text = Buffer.from(await runs.options.read(log))
                .toString()
                .replace(/\n$/, "");
              await write(
                `${text
                  .split("\n")
                  .map((line) => `${node.displayName}: ${line}`)
                  .join("\n")}\n`,
              );
            }
          },
        });
      },
    },
    verb("stop", (_request, at) => stopRun(target(at))),
    verb("terminate", (_request, at) => terminateRun(target(at))),
    verb("suspend", (_request, at) => suspendRun(target(at))),
    verb("resume", (_request, at) => {
      const given = parametersOf(at.query);
      const options = Object.keys(given).length === 0 ? {} : { parameters: given };
      return begun(runs.goOn(at.namespace, named(at), (own) => resumeRun(own, options)));
    }),
    verb("retry", (_request, at) => begun(runs.goOn(at.namespace, named(at), retryRun))),
    {
      method: "DELETE",
      path: "/workflows/{name}",
      scope: "workflows",
      handle(_request, at) {
        deleteRun(runs.journal(at.namespace), named(at));
        return Promise.resolve({ status: 204, headers: [] });
      },
    },
  ];
}

/** Events of a run as Server-Sent Events (HTML, section 9.2): each has its number in the journal as its id, and `Last-Event-ID` goes on after one. */
function events(
  runs: Runs,
  { header, signal }: Pick<ApiRequest, "header" | "signal">,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): ApiResponse {
  const last = Number(header("last-event-id") ?? -1);
  if (!Number.isSafeInteger(last))
    throw new Failure("invalid-argument", "Last-Event-ID is no number");
  if (listeners.size >= mostListeners) {
    throw new Failure("queue-full", `${mostListeners} callers listen to events already`, {
      hint: "Ask for the run (GET) instead.",
    });
  }
  const journal = runs.journal(namespace);
  // That there is none is said at once.
  journal.read(name);
  return {
    status: 200,
    headers: ["content-type", "text/event-stream", "cache-control", "no-store"],
    async stream(write) {
      using stack = new DisposableStack();
      stack.use(listened(signal));
      let next = last + 1;
      while (!signal.aborted) {
        const changed = runs.changed(namespace, name, signal);
        let at = 0;
        for (const event of journal.read(name).events) {
          if (at++ < next) continue;
          next = at;
          await write(`id: ${at - 1}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
        }
        const { phase, finishedAt } = runs.state(namespace, name);
        if (finishedAt !== undefined) {
          await write(`event: end\ndata: ${JSON.stringify({ phase })}\n\n`);
          return;
        }
        await changed;
        // Who listens is told that the line is whole, and a broken one is noticed.
        await write(": \n\n");
      }
    },
  };
}

const mostListeners = 500;
const listeners = new Set<AbortSignal>();

/** Each listener looks at the journal once in a second. */
function listened(signal: AbortSignal): Disposable {
  listeners.add(signal);
  return { [Symbol.dispose]: () => void listeners.delete(signal) };
}

/** `parameter=NAME=VALUE`, each. */
function parametersOf(query: URLSearchParams): Readonly<Record<string, string>> {
  const pairs = query.getAll("parameter").map((text): [string, string] => {
    const at = text.indexOf("=");
    if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
    throw new Failure("invalid-argument", `parameter "${text.slice(0, 100)}" is no NAME=VALUE`);
  });
  return Object.fromEntries(pairs);
}

function json(status: number, value: unknown, headers: readonly string[] = []): ApiResponse {
  return {
    status,
    headers: ["content-type", "application/json", ...headers],
    body: JSON.stringify(value),
  };
}
