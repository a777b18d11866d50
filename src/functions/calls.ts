import type { HttpHandler, HttpRequest, HttpResponse } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import { checkArguments } from "./convention.ts";
import type { CallHandler, Outcome } from "./mod.ts";

/** The host to which a guest sends its calls; no request to it leaves the process. */
const host = "functions.atalanta";
const prefix = `http://${host}/`;

/**
 * A guest's HTTP with a way to other functions of its namespace in it: `POST http://functions.atalanta/NAME/FUNCTION`, with arguments and answers as the HTTP
 * API has them. All other requests go where they went before.
 */
export function callsThrough(options: {
  readonly permitted: readonly string[];
  readonly call: CallHandler;
  readonly otherwise: HttpHandler | undefined;
}): HttpHandler {
  return async (request, asked) => {
    if (!request.url.startsWith(prefix)) {
      if (options.otherwise) return options.otherwise(request, asked);
      throw new Failure("network-denied", "No host is allowed, only calls of functions", {
        hint: "List the host under permissions.http.allowedHosts of the deployment.",
      });
    }
    const { name, called } = target(request);
    if (!isPermitted(name, options.permitted)) {
      throw new Failure("network-denied", `"${name}" is not among permissions.call.functions`, {
        hint: "List it there in the deployment of the function that calls.",
      });
    }
    const header = (wanted: string): string | undefined =>
      request.headers.find(([field]) => field.toLowerCase() === wanted)?.[1];
    const isJson = (header("content-type") ?? "application/json").startsWith("application/json");
    const key = header("idempotency-key");
    const text = isJson
      ? Buffer.from(request.body).toString() || "[]"
      : (header("atalanta-arguments") ?? "[null]");
    checkArguments(text);
    const outcome = await options.call(
      {
        name,
        function: called,
        arguments: text,
        ...(isJson ? {} : { input: request.body }),
        ...(key === undefined ? {} : { key }),
      },
      asked,
    );
    return response(outcome);
  };
}

function target({ method, url }: HttpRequest): { readonly name: string; readonly called: string } {
  const words = url.slice(prefix.length).split("/");
  const called = words.at(-1);
  if (method !== "POST" || called === undefined || words.length !== 2) {
    throw new Failure("network-invalid", `"${method} ${url.slice(0, 200)}" is no call`, {
      hint: `Write POST ${prefix}NAME/FUNCTION.`,
    });
  }
  return { name: words.slice(0, -1).join("/"), called };
}

function isPermitted(name: string, permitted: readonly string[]): boolean {
  return permitted.includes(name) || permitted.includes("*");
}

function response(outcome: Outcome): HttpResponse {
  if (outcome.kind === "returned") {
    const { type, body } = outcome;
    const types = { json: "application/json", bytes: "application/octet-stream", none: undefined };
    return answer(type === "none" ? 204 : 200, types[type], body);
  }
  const said =
    outcome.kind === "threw"
      ? { code: "function-threw", ...outcome.error }
      : { ...outcome.failure, detail: outcome.failure.message };
  return answer(
    outcome.kind === "threw" ? 422 : 502,
    "application/problem+json",
    Buffer.from(JSON.stringify(said)),
  );
}

function answer(status: number, type: string | undefined, body: Uint8Array): HttpResponse {
  const pieces = body.length === 0 ? [] : [body];
  return {
    status,
    headers: type === undefined ? [] : [["content-type", type]],
    // oxlint-disable-next-line typescript/require-await -- the handler's type wants an asynchronous one
    body: (async function* () {
      yield* pieces;
      return undefined;
    })(),
  };
}
