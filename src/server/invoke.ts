import { randomUUID } from "node:crypto";
import { callOf, type Call, type Callee, type Ended } from "../dispatch/mod.ts";
import { Failure } from "../errors/mod.ts";
import {
  checkArguments,
  checkFunctionName,
  describeFunction,
  parseDescription,
  type Deployment,
  type FunctionDescription,
  type ModuleDescription,
} from "../functions/mod.ts";
import type { ApiOptions, ApiParts, Found, Route } from "./api.ts";
import type { ApiRequest, ApiResponse, Sink } from "./mod.ts";
import { problemOfOutcome } from "./problem.ts";

const defaultRequestBytes = 32 * 1024 * 1024;
const longestKey = 255;
const longestImage = 512;
/** A day; whoever wants more does not wait for it. */
const longestTimeoutMs = 24 * 60 * 60 * 1000;

/** Calling functions: by the name of a deployment, or by an image. */
export function invokeRoutes(options: ApiParts): readonly Route[] {
  return [
    {
      method: "POST",
      path: "/functions/{name}/call/{function}",
      scope: "call",
      async handle(request, at) {
        const [name = "", called = ""] = at.words;
        const deployment = await options.deployments.get(at.namespace, name);
        if (!deployment) throw unknownDeployment(at.namespace, name);
        return invoke(options, request, {
          callee: { kind: "deployment", deployment },
          about: aboutOf(deployment, called),
          called,
          at,
        });
      },
    },
    {
      method: "POST",
      path: "/call/{function}",
      scope: "call",
      async handle(request, at) {
        const [called = ""] = at.words;
        const image = at.query.get("module") ?? "";
        if (image === "" || image.length > longestImage) {
          throw new Failure("invalid-argument", "The query has no module=IMAGE", {
            hint: "Name an image, or deploy one and call it by its name.",
          });
        }
        const callee = options.modules.get(at.namespace, image);
        const description = await describedModule(options, callee, request.signal);
        const about = describeFunction(description, called, image);
        return invoke(options, request, { callee, about, called, at });
      },
    },
  ];
}

export function unknownDeployment(namespace: string, name: string): Failure {
  return new Failure(
    "deployment-unknown",
    `There is no deployment "${name.slice(0, 100)}" in the namespace "${namespace}"`,
    {
      hint: "Deploy it (atalanta deploy NAME IMAGE), or look at what there is (atalanta functions).",
    },
  );
}

async function describedModule(
  options: ApiOptions,
  { owner, program }: Extract<Callee, { readonly kind: "module" }>,
  signal: AbortSignal,
): Promise<ModuleDescription | undefined> {
  try {
    return await options.performer.describe({ owner, program }, { signal });
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === "functions-invalid") return undefined;
    throw thrown;
  }
}

const described = new WeakMap<Deployment, ModuleDescription>();

function aboutOf(deployment: Deployment, called: string): FunctionDescription | undefined {
  if (deployment.functions === undefined) return undefined;
  let description = described.get(deployment);
  if (!description) {
    description = parseDescription(deployment.functions, deployment.name);
    described.set(deployment, description);
  }
  return describeFunction(description, called, deployment.name);
}

interface Asked {
  readonly callee: Callee;
  readonly about: FunctionDescription | undefined;
  readonly called: string;
  readonly at: Found;
}

async function invoke(options: ApiParts, request: ApiRequest, asked: Asked): Promise<ApiResponse> {
  const { callee, about, called, at } = asked;
  checkFunctionName(called);
  const { dispatcher } = options;
  const given = await argumentsOf(options, request, about);
  const budgetMs = timeoutOf(request.header("request-timeout"));
  const key = keyOf(request.header("idempotency-key"));
  const traceparent = request.header("traceparent");
  const call = callOf(
    callee,
    {
      function: called,
      arguments: given.arguments,
      ...(given.input ? { input: given.input } : {}),
      ...(budgetMs === undefined ? {} : { budgetMs }),
      ...(key === undefined ? {} : { key }),
      ...(traceparent === undefined ? {} : { traceparent: traceparent.slice(0, 200) }),
    },
    randomUUID(),
  );
  const wantsAsync = /(^|[\s,])respond-async\b/.test(request.header("prefer") ?? "");
  if (wantsAsync) {
    if (given.rest) throw cannotWait("its input comes in pieces");
    await dispatcher.submit(call);
    const location = `/v1/namespaces/${at.namespace}/calls/${call.id}`;
    return {
      status: 202,
      headers: [
        "content-type",
        "application/json",
        "location",
        location,
        "preference-applied",
        "respond-async",
      ],
      body: JSON.stringify({ id: call.id, location }),
    };
  }
  const flows = about
    ? about.stream === "result" || about.stream === "both"
    : at.query.get("stream") === "true";
  if (flows) {
    if (key !== undefined)
      throw cannotWait(
        "its result comes in pieces, which are not kept, so no key can bring them again",
      );
    return streamed(options, request, { call, about, rest: given.rest });
  }
  const ended = await dispatcher.run(call, {
    signal: request.signal,
    ...(given.rest ? { input: given.rest } : {}),
  });
  return answer(call, ended);
}

/** Arguments in the body, or bytes there and arguments in a header. */
async function argumentsOf(
  options: ApiOptions,
  request: ApiRequest,
  about: FunctionDescription | undefined,
): Promise<{
  readonly arguments: string;
  readonly input?: Uint8Array;
  readonly rest?: AsyncIterator<Uint8Array, unknown, undefined>;
}> {
  const most = options.requestBytes ?? defaultRequestBytes;
  const type = request.header("content-type");
  if (type === undefined || type.startsWith("application/json")) {
    const body = await request.read(most);
    if (body.length === 0) return { arguments: "[]" };
    const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
    checkArguments(text);
    return { arguments: text };
  }
  const header = request.header("atalanta-arguments");
  if (header !== undefined) checkArguments(header);
  const words =
    header ??
    `[${(about?.parameters ?? []).some(({ type: kind }) => kind === "bytes") || !about ? "null" : ""}]`;
  if (about && (about.stream === "input" || about.stream === "both")) {
    return {
      arguments: words,
      input: new Uint8Array(0),
      rest: request.pieces(),
    };
  }
  return { arguments: words, input: await request.read(most) };
}

export function answer({ id }: Pick<Call, "id">, ended: Ended): ApiResponse {
  const { outcome, usage, queueMs, attempts, repeated } = ended;
  const timing = `queue;dur=${queueMs.toFixed(1)}, load;dur=${usage.loadMs.toFixed(1)}, run;dur=${usage.runMs.toFixed(2)}`;
  const headers = ["atalanta-call", id, "server-timing", timing];
  if (attempts > 1) headers.push("atalanta-attempts", String(attempts));
  if (repeated) headers.push("idempotent-replayed", "true");
  if (outcome.kind !== "returned") return problemOfOutcome(outcome, headers);
  if (outcome.type === "none") return { status: 204, headers };
  const type = outcome.type === "json" ? "application/json" : "application/octet-stream";
  return { status: 200, headers: ["content-type", type, ...headers], body: outcome.body };
}

/** A result that comes in pieces. What fails before the first of them is an ordinary failure; what fails later breaks the response off. */
async function streamed(
  { dispatcher, broken }: ApiParts,
  request: ApiRequest,
  asked: {
    readonly call: Call;
    readonly about: FunctionDescription | undefined;
    readonly rest: AsyncIterator<Uint8Array, unknown, undefined> | undefined;
  },
): Promise<ApiResponse> {
  const { call, about, rest } = asked;
  const begun = Promise.withResolvers<Ended | "pieces">();
  const sink = Promise.withResolvers<Sink>();
  let write: Sink | undefined;
  const running = dispatcher.run(call, {
    signal: request.signal,
    ...(rest ? { input: rest } : {}),
    pour(bytes) {
      if (write) return write(bytes);
      begun.resolve("pieces");
      return sink.promise.then((ready) => ready(bytes));
    },
  });
  running.then(begun.resolve, begun.reject);
  const first = await begun.promise;
  const isBytes = about ? about.result === "bytes" : true;
  const type = isBytes ? "application/octet-stream" : "application/jsonl";
  if (first !== "pieces") {
    if (first.outcome.kind !== "returned") return answer(call, first);
    return { status: 200, headers: ["content-type", type, "atalanta-call", call.id], body: "" };
  }
  return {
    status: 200,
    headers: ["content-type", type, "atalanta-call", call.id],
    async stream(given) {
      write = given;
      sink.resolve(given);
      const { outcome } = await running;
      if (outcome.kind === "returned") return;
      const failure =
        outcome.kind === "failed"
          ? new Failure(outcome.failure.code, outcome.failure.message)
          : new Failure("function-threw", outcome.error.message);
      broken.add(call, outcome);
      throw failure;
    },
  };
}

function cannotWait(why: string): Failure {
  return new Failure("invalid-argument", `The call cannot be kept: ${why}`, {
    hint: "Leave out Prefer: respond-async and Idempotency-Key.",
  });
}

/** Seconds, whole or not. */
function timeoutOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d{1,9}(\.\d{1,6})?$/.test(text) ? Number(text) * 1000 : Number.NaN;
  if (ms > 0 && ms <= longestTimeoutMs) return ms;
  throw new Failure("invalid-argument", `Request-Timeout is "${text.slice(0, 100)}"`, {
    hint: "Write seconds above 0 and up to 86400, such as 2.5.",
  });
}

/** As the draft has it, in quotes or without (draft-ietf-httpapi-idempotency-key-header-07). */
function keyOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const key = /^"(.*)"$/.exec(text)?.[1] ?? text;
  if (key.length > 0 && key.length <= longestKey && /^[\x20-\x7e]+$/.test(key)) return key;
  throw new Failure("invalid-argument", "The Idempotency-Key is empty, too long or not of ASCII", {
    hint: `Write 1 to ${longestKey} characters, such as a UUID.`,
  });
}
