import { Failure } from "../errors/mod.ts";
import {
  imageOf,
  parseDeployment,
  parseDescription,
  typesOf,
  type Deployment,
  type ModuleDescription,
} from "../functions/mod.ts";
import type { ApiOptions, Route } from "./api.ts";
import { readJson } from "./body.ts";
import { unknownDeployment } from "./invoke.ts";
import type { ApiResponse } from "./mod.ts";

const recordBytes = 1024 * 1024;

/** Modules under names. */
export function deploymentRoutes(options: ApiOptions): readonly Route[] {
  const { deployments, performer } = options;
  return [
    {
      method: "GET",
      path: "/functions",
      scope: "read",
      async handle(_request, { namespace }) {
        const items = await deployments.list(namespace);
        return json(200, { items: items.map(view) });
      },
    },
    {
      method: "GET",
      path: "/functions/{name}",
      scope: "read",
      async handle(request, { namespace, words: [name = ""] }) {
        const found = await deployments.get(namespace, name);
        if (!found) throw unknownDeployment(namespace, name);
        if (request.header("if-none-match") === tag(found)) {
          return { status: 304, headers: ["etag", tag(found)] };
        }
        return json(200, view(found), ["etag", tag(found)]);
      },
    },
    {
      method: "PUT",
      path: "/functions/{name}",
      scope: "deploy",
      async handle(request, { namespace, words: [name = ""] }) {
        const said = await readJson(request, recordBytes);
        const about = { namespace, name, digest: "", deployedAt: new Date().toISOString() };
        // What is wrong with it is said before anything is pulled.
        const draft = parseDeployment(said, about);
        const image = imageOf(said);
        const digest = options.isLocal?.(image)
          ? undefined
          : await performer.resolve(image, { signal: request.signal });
        const program = {
          ...draft.program,
          module: { image, ...(digest === undefined ? {} : { digest }) },
        };
        const description = await described(options, namespace, program, request.signal);
        const known = description.functions;
        const deployment = parseDeployment(said, {
          ...about,
          digest: digest ?? description.digest,
          ...(known === undefined ? {} : { functions: known }),
        });
        const condition = conditionOf(request.header("if-match"), request.header("if-none-match"));
        const before = await deployments.get(namespace, name);
        await deployments.put(deployment, condition);
        return json(before ? 200 : 201, view(deployment), [
          "etag",
          tag(deployment),
          "location",
          `/v1/namespaces/${namespace}/functions/${name}`,
        ]);
      },
    },
    {
      method: "DELETE",
      path: "/functions/{name}",
      scope: "deploy",
      async handle(request, { namespace, words: [name = ""] }) {
        const condition = conditionOf(request.header("if-match"), undefined);
        const gone = await deployments.remove(namespace, name, condition ?? undefined);
        if (!gone) throw unknownDeployment(namespace, name);
        return { status: 204, headers: [] };
      },
    },
    {
      method: "GET",
      path: "/functions/{name}/types",
      scope: "read",
      async handle(_request, { namespace, words: [name = ""] }) {
        const found = await deployments.get(namespace, name);
        if (!found) throw unknownDeployment(namespace, name);
        if (found.functions === undefined) throw undescribed(name);
        return typescript(parseDescription(found.functions, name), name);
      },
    },
    {
      method: "GET",
      path: "/types",
      scope: "read",
      async handle(request, { namespace, query }) {
        const image = query.get("module") ?? "";
        if (image === "") throw new Failure("invalid-argument", "The query has no module=IMAGE");
        const program = { module: { image }, limits: {} };
        const { signal } = request;
        return typescript(
          await performer.describe({ owner: namespace, program }, { signal }),
          image,
        );
      },
    },
  ];
}

/** What a module says of itself; nothing when it says nothing. It is loaded for that, so its first call is quick. */
async function described(
  { performer }: ApiOptions,
  owner: string,
  program: Deployment["program"],
  signal: AbortSignal,
): Promise<{ readonly functions: string | undefined; readonly digest: string }> {
  const { text, digest } = await performer.load({ owner, program }, { signal });
  return { functions: text, digest };
}

function view({ functions, version, ...deployment }: Deployment): unknown {
  const names =
    functions === undefined
      ? undefined
      : [...parseDescription(functions, deployment.name).functions.keys()];
  return { ...deployment, version, ...(names ? { functions: names } : {}) };
}

function tag({ version }: Deployment): string {
  return `"${version}"`;
}

/** What must be there for a change (RFC 9110, section 13.1): a version, or nothing at all (`null`). */
function conditionOf(
  match: string | undefined,
  noneMatch: string | undefined,
): string | null | undefined {
  if (noneMatch === "*") return null;
  if (match === undefined || match === "*") return undefined;
  return /^"(.*)"$/.exec(match)?.[1] ?? match;
}

function undescribed(name: string): Failure {
  return new Failure("functions-invalid", `"${name}" does not say which functions it has`, {
    hint: "docs/functions.md says how a module describes them.",
  });
}

function typescript(description: ModuleDescription, name: string): ApiResponse {
  return {
    status: 200,
    headers: ["content-type", "text/plain; charset=utf-8"],
    body: typesOf(description, name),
  };
}

function json(status: number, value: unknown, headers: readonly string[] = []): ApiResponse {
  return {
    status,
    headers: ["content-type", "application/json", ...headers],
    body: JSON.stringify(value),
  };
}
