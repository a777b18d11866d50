import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { openArtifactStore } from "../../src/artifacts/mod.ts";
import { createLocalDispatcher } from "../../src/dispatch/mod.ts";
import { hostLimits } from "../../src/limits/mod.ts";
import { createRunners } from "../../src/runner/mod.ts";
import { Runs, workflowRoutes, type Route } from "../../src/server/mod.ts";
import { createTaskRunner } from "../../src/task/mod.ts";
import { call, deploy, guest, startApi, type TestApi } from "../functions/api.ts";

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>
  >;
}
interface Description {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const folder = mkdtempSync(join(tmpdir(), "openapi-"));
const stack = new AsyncDisposableStack();
let api: TestApi;
let routes: readonly Route[];
let description: Description;
const ajv = new Ajv2020({ strict: false, validateFormats: false });

before(async () => {
  const overrides = new Map([["f", guest]]);
  const artifacts = await openArtifactStore({ folder: join(folder, "artifacts") });
  const runner = stack.use(
    createTaskRunner({ runners: createRunners({ spares: 0 }), artifacts, overrides }),
  );
  const runs = stack.use(
    new Runs({
      folder: join(folder, "runs"),
      dispatcher: stack.use(createLocalDispatcher({ runner })),
      limits: hostLimits(),
      resolveImage: () => Promise.resolve(undefined),
      read: (artifact) => artifacts.read(artifact),
    }),
  );
  routes = workflowRoutes(runs);
  api = stack.use(await startApi({ routes }));
  description = (await (await fetch(`${api.url}/openapi.json`)).json()) as Description;
  ajv.addSchema(description, "api");
  await deploy(api);
});
after(async () => {
  await stack.disposeAsync();
  rmSync(folder, { recursive: true, force: true });
});

/** Compares a response with what the description says of it. */
async function described(method: string, path: string, response: Response): Promise<void> {
  const { responses } =
    description.paths[path]?.[method] ?? assert.fail(`${method} ${path} is not described`);
  const status = String(response.status);
  const key = status in responses ? status : "default";
  const type = (response.headers.get("content-type") ?? "").split(";")[0] ?? "";
  const content = responses[key]?.content;
  if (response.status === 204 || response.status === 304) {
    assert.equal(content, undefined, `${method} ${path} ${status}`);
    return;
  }
  assert.ok(content && type in content, `${method} ${path} ${status} ${type} is not described`);
  if (!type.endsWith("json")) {
    await response.body?.cancel();
    return;
  }
  const pointer = ["paths", path, method, "responses", key, "content", type, "schema"].map((word) =>
    encodeURIComponent(word.replaceAll("~", "~0").replaceAll("/", "~1")),
  );
  const validate = ajv.getSchema(`api#/${pointer.join("/")}`) ?? assert.fail("no schema");
  const body: unknown = await response.json();
  assert.ok(
    validate(body),
    `${method} ${path} ${status}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(body).slice(0, 500)}`,
  );
}

const prefix = "/v1/namespaces/{namespace}";
const workflow = `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: described}
spec:
  entrypoint: main
  templates:
  - name: main
    wasm: {image: f, args: [greet], stdin: '["x"]'}
`;

describe("the description of the API", () => {
  test("has every route, and no other", () => {
    assert.equal(description.openapi, "3.1.0");
    const inPaths = Object.entries(description.paths)
      .filter(([path]) => path.startsWith(prefix))
      .flatMap(([path, item]) =>
        Object.keys(item).map((method) => `${method.toUpperCase()} ${path.slice(prefix.length)}`),
      );
    assert.deepEqual(
      inPaths.toSorted(),
      api.routes.map(({ method, path }) => `${method} ${path}`).toSorted(),
    );
  });

  test("names each place of a path among its parameters", () => {
    for (const [path, item] of Object.entries(description.paths)) {
      const places = [...path.matchAll(/\{(\w+)\}/g)].map(([, word]) => word ?? "");
      for (const [method, { parameters = [] }] of Object.entries(item)) {
        const named = parameters
          .filter((parameter) => parameter.in === "path")
          .map((parameter) => parameter.name);
        assert.deepEqual(named.toSorted(), places.toSorted(), `${method} ${path}`);
      }
    }
  });

  for (const path of ["/healthz", "/readyz", "/metrics", "/v1/load", "/openapi.json"]) {
    test(`is right of ${path}`, async () =>
      described("get", path, await fetch(`${api.url}${path}`)));
  }

  test("is right of calls, well and ill", async () => {
    const path = `${prefix}/functions/{name}/call/{function}`;
    for (const [name, given] of [
      ["greet", ["x"]],
      ["nothing", []],
      ["count", [2]],
      ["fail", ["x"]],
      ["trap", []],
      ["nope", []],
    ] as const) {
      await described("post", path, await call(api, `/functions/f/call/${name}`, given));
    }
    await described(
      "post",
      `${prefix}/call/{function}`,
      await call(api, "/call/greet?module=f", ["x"]),
    );
    const begun = await call(api, "/functions/f/call/sleep", [200], { prefer: "respond-async" });
    const at = new URL(begun.headers.get("location") ?? "", api.url).href;
    await described("post", path, begun);
    await described("get", `${prefix}/calls/{id}`, await fetch(at));
    await described("get", `${prefix}/calls/{id}/result`, await fetch(`${at}/result`));
    await described("get", `${prefix}/calls/{id}/result`, await fetch(`${at}/result?wait=5`));
    await described("get", `${prefix}/calls/{id}`, await fetch(at));
    await described("get", `${prefix}/calls/{id}/logs`, await fetch(`${at}/logs`));
    await described("delete", `${prefix}/calls/{id}`, await fetch(at, { method: "DELETE" }));
    await described("get", `${prefix}/calls/{id}`, await fetch(api.at("/calls/none")));
  });

  test("is right of deployments", async () => {
    const one = `${prefix}/functions/{name}`;
    const made = await deploy(api, "d", {
      limits: { memory: "64Mi" },
      permissions: { http: { allowedHosts: ["x.example.com"] } },
      trust: "thread",
    });
    const tag = made.headers.get("etag") ?? "";
    await described("put", one, made);
    await described("put", one, await deploy(api, "d"));
    await described("put", one, await deploy(api, "d", { wrong: 1 }));
    await described("get", one, await fetch(api.at("/functions/d")));
    await described(
      "get",
      one,
      await fetch(api.at("/functions/f"), {
        headers: {
          "if-none-match": (await fetch(api.at("/functions/f"))).headers.get("etag") ?? "",
        },
      }),
    );
    await described("get", `${prefix}/functions`, await fetch(api.at("/functions")));
    await described(
      "get",
      `${prefix}/functions/{name}/types`,
      await fetch(api.at("/functions/d/types")),
    );
    await described("get", `${prefix}/types`, await fetch(api.at("/types?module=f")));
    await described(
      "delete",
      one,
      await fetch(api.at("/functions/d"), { method: "DELETE", headers: { "if-match": tag } }),
    );
    await described("delete", one, await fetch(api.at("/functions/d"), { method: "DELETE" }));
  });

  test("is right of workflows", async () => {
    const all = `${prefix}/workflows`;
    const one = `${prefix}/workflows/{name}`;
    await described(
      "post",
      all,
      await fetch(api.at("/workflows?wait=20"), { method: "POST", body: workflow }),
    );
    await described(
      "post",
      all,
      await fetch(api.at("/workflows"), { method: "POST", body: "no workflow" }),
    );
    await described("get", all, await fetch(api.at("/workflows")));
    await described("get", one, await fetch(api.at("/workflows/described")));
    await described("get", `${one}/events`, await fetch(api.at("/workflows/described/events")));
    await described("get", `${one}/logs`, await fetch(api.at("/workflows/described/logs")));
    for (const verb of ["stop", "terminate", "suspend", "resume", "retry"]) {
      await described(
        "post",
        `${one}/${verb}`,
        await fetch(api.at(`/workflows/described/${verb}`), { method: "POST" }),
      );
    }
    await described(
      "delete",
      one,
      await fetch(api.at("/workflows/described"), { method: "DELETE" }),
    );
    await described("get", one, await fetch(api.at("/workflows/none")));
  });
});
