import { codes } from "../errors/mod.ts";

type Json = Readonly<Record<string, unknown>>;

const text = { type: "string" };
const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const content = (schema: unknown, type = "application/json"): Json => ({ [type]: { schema } });
const ok = (description: string, schema?: unknown, type?: string): Json =>
  schema === undefined ? { description } : { description, content: content(schema, type) };
const path = (name: string, description: string): Json => ({
  name,
  in: "path",
  required: true,
  description,
  schema: text,
});
const query = (name: string, description: string, schema: Json = text): Json => ({
  name,
  in: "query",
  description,
  schema,
});
const header = (name: string, description: string): Json => ({
  name,
  in: "header",
  description,
  schema: text,
});

const namespace = path("namespace", "Whose it is: small letters, digits and -");
const name = path("name", "Of a deployment");
const run = path("name", "Of a run");
const called = path("function", "Of a function");
const id = path("id", "Of a call");
const callHeaders = [
  header("Idempotency-Key", "Calls with one key are answered once, however often they are sent"),
  header("Request-Timeout", "Seconds that the caller waits; the function is stopped then"),
  header("Prefer", "respond-async: come back at once with the call's id"),
  header(
    "Atalanta-Arguments",
    "Arguments as a JSON array, where the body is the argument of bytes; null stands for that one",
  ),
  header("traceparent", "W3C Trace Context; the guest finds it in TRACEPARENT"),
];
const callBody = {
  content: {
    "application/json": { schema: { type: "array", description: "One element for each argument" } },
    "application/octet-stream": {
      schema: {
        type: "string",
        format: "binary",
        description: "The argument of bytes; any other type will do, too",
      },
    },
  },
};
const callResponses = {
  "200": {
    description: "What the function returned; in pieces where it gives it so",
    content: {
      "application/json": { schema: {} },
      "application/octet-stream": { schema: { type: "string", format: "binary" } },
      "application/jsonl": { schema: { type: "string" } },
    },
  },
  "202": ok("The call was taken (Prefer: respond-async)", ref("Accepted")),
  "204": { description: "The function returned nothing" },
};
const problems = {
  default: {
    description: "A failure",
    content: content(ref("Problem"), "application/problem+json"),
  },
};

function operation(
  summary: string,
  { responses, ...about }: Json & { readonly responses: Json },
): Json {
  return { summary, ...about, responses: { ...responses, ...problems } };
}

const etag = header("If-Match", "Only when this is its version now");

const paths: Readonly<Record<string, Json>> = {
  "/functions/{name}/call/{function}": {
    post: operation("Call a function of a deployment", {
      parameters: [namespace, name, called, ...callHeaders],
      requestBody: callBody,
      responses: callResponses,
    }),
  },
  "/call/{function}": {
    post: operation("Call a function of an image", {
      parameters: [
        namespace,
        called,
        query("module", "The image"),
        query("stream", "true: the result as it comes", { type: "boolean" }),
        ...callHeaders,
      ],
      requestBody: callBody,
      responses: callResponses,
    }),
  },
  "/calls/{id}": {
    get: operation("How a call stands", {
      parameters: [namespace, id],
      responses: { "200": ok("The call", ref("Call")) },
    }),
    delete: operation("Cancel a call", {
      parameters: [namespace, id],
      responses: {
        "202": ok("It is told to end", {
          type: "object",
          required: ["id"],
          properties: { id: text },
        }),
      },
    }),
  },
  "/calls/{id}/result": {
    get: operation("What a call gave", {
      parameters: [
        namespace,
        id,
        query("wait", "Seconds to wait for it, up to 60", { type: "number" }),
      ],
      responses: { ...callResponses, "202": ok("It has not ended", ref("Call")) },
    }),
  },
  "/calls/{id}/logs": {
    get: operation("What a call wrote to stderr, once it has ended", {
      parameters: [namespace, id],
      responses: { "200": ok("The end of it", text, "text/plain") },
    }),
  },
  "/functions": {
    get: operation("List deployments", {
      parameters: [namespace],
      responses: {
        "200": ok("All of the namespace", {
          type: "object",
          required: ["items"],
          properties: { items: { type: "array", items: ref("Deployment") } },
        }),
      },
    }),
  },
  "/functions/{name}": {
    get: operation("Show a deployment", {
      parameters: [namespace, name, header("If-None-Match", "A version that is known")],
      responses: {
        "200": ok("The deployment", ref("Deployment")),
        "304": { description: "It is that version" },
      },
    }),
    put: operation("Deploy an image under a name", {
      parameters: [namespace, name, etag, header("If-None-Match", "*: only when there is none")],
      requestBody: { required: true, content: content(ref("DeploymentRequest")) },
      responses: {
        "200": ok("Changed", ref("Deployment")),
        "201": ok("Deployed", ref("Deployment")),
      },
    }),
    delete: operation("Take a name away; calls that run go on", {
      parameters: [namespace, name, etag],
      responses: { "204": { description: "It is gone" } },
    }),
  },
  "/functions/{name}/types": {
    get: operation("TypeScript types of a deployment's functions", {
      parameters: [namespace, name],
      responses: { "200": ok("Declarations", text, "text/plain") },
    }),
  },
  "/types": {
    get: operation("TypeScript types of an image's functions", {
      parameters: [namespace, query("module", "The image")],
      responses: { "200": ok("Declarations", text, "text/plain") },
    }),
  },
  "/workflows": {
    get: operation("List runs, the newest first", {
      parameters: [
        namespace,
        query("limit", "At most so many, up to 500", { type: "integer" }),
        query("after", "Those behind this run"),
      ],
      responses: {
        "200": ok("Runs", {
          type: "object",
          required: ["items"],
          properties: { items: { type: "array", items: ref("Workflow") }, next: text },
        }),
      },
    }),
    post: operation("Run a workflow", {
      parameters: [
        namespace,
        query("name", "Of the run, instead of metadata.name"),
        query("parameter", "NAME=VALUE; again for more"),
        query("wait", "Seconds to wait for its end, up to 600", { type: "number" }),
      ],
      requestBody: {
        required: true,
        content: { "application/yaml": { schema: text }, "application/json": { schema: {} } },
      },
      responses: {
        "201": ok("It has ended", ref("Workflow")),
        "202": ok("It goes on", ref("Workflow")),
      },
    }),
  },
  "/workflows/{name}": {
    get: operation("Show a run", {
      parameters: [namespace, run],
      responses: { "200": ok("The run, as Argo has it", ref("Workflow")) },
    }),
    delete: operation("Forget a run that has ended", {
      parameters: [namespace, run],
      responses: { "204": { description: "It is gone" } },
    }),
  },
  "/workflows/{name}/events": {
    get: operation("What happens to a run, as it happens", {
      parameters: [namespace, run, header("Last-Event-ID", "Go on after this one")],
      responses: { "200": ok("Server-Sent Events", text, "text/event-stream") },
    }),
  },
  "/workflows/{name}/logs": {
    get: operation("What steps of a run have printed", {
      parameters: [namespace, run, query("node", "Of this node alone")],
      responses: { "200": ok("Lines, each behind the name of its node", text, "text/plain") },
    }),
  },
  ...Object.fromEntries(
    (
      [
        ["stop", "Start no more steps but exit handlers"],
        ["terminate", "End a run at once"],
        ["suspend", "Start no more steps until it is resumed"],
        ["resume", "Go on"],
        ["retry", "Run once more what has failed"],
      ] as const
    ).map(([word, summary]) => [
      `/workflows/{name}/${word}`,
      {
        post: operation(summary, {
          parameters: [
            namespace,
            run,
            ...(word === "resume"
              ? [query("parameter", "NAME=VALUE for a suspend node; again for more")]
              : []),
          ],
          responses: { "200": ok("The run", ref("Workflow")) },
        }),
      },
    ]),
  ),
};

const general: Readonly<Record<string, Json>> = {
  "/healthz": {
    get: {
      summary: "Whether the process lives",
      security: [],
      responses: { "200": ok("It does", { type: "object" }) },
    },
  },
  "/readyz": {
    get: {
      summary: "Whether it takes calls",
      security: [],
      responses: {
        "200": ok("It does", { type: "object" }),
        "503": ok("It ends", { type: "object" }),
      },
    },
  },
  "/metrics": {
    get: operation("Counters for Prometheus", {
      responses: { "200": ok("Metrics", text, "text/plain") },
    }),
  },
  "/v1/load": {
    get: operation("Which functions run and wait", {
      responses: { "200": ok("Load", { type: "object", required: ["targets", "warm"] }) },
    }),
  },
  "/openapi.json": {
    get: {
      summary: "This description",
      security: [],
      responses: { "200": ok("OpenAPI 3.1", { type: "object" }) },
    },
  },
};

const limited = { type: "object", additionalProperties: { type: ["string", "number"] } };
const program = {
  limits: limited,
  trust: { enum: ["thread", "process", "pod"] },
  environment: { type: "object", additionalProperties: text },
  permissions: {
    type: "object",
    additionalProperties: false,
    properties: {
      http: { type: "object", properties: { allowedHosts: { type: "array", items: text } } },
      call: { type: "object", properties: { functions: { type: "array", items: text } } },
    },
  },
};

const schemas: Readonly<Record<string, Json>> = {
  Problem: {
    description: "RFC 9457, with a code of ours and whether a retry may help",
    type: "object",
    required: ["type", "title", "status", "detail", "code", "retryable"],
    properties: {
      type: text,
      title: text,
      status: { type: "integer" },
      detail: text,
      code: { enum: Object.keys(codes) },
      retryable: { type: "boolean" },
      hint: text,
      name: { ...text, description: "Of what a function threw" },
      data: {},
      stack: { type: "array", items: text, description: "The guest's functions, innermost first" },
    },
  },
  Accepted: {
    type: "object",
    required: ["id", "location"],
    properties: { id: text, location: text },
  },
  Call: {
    type: "object",
    required: ["id", "owner", "target", "function", "state", "createdAt"],
    properties: {
      id: text,
      owner: text,
      target: text,
      function: text,
      state: { enum: ["waiting", "running", "ended"] },
      createdAt: text,
      endedAt: text,
      end: { ...text, description: "returned, threw, or the code of a failure" },
      attempts: { type: "integer" },
      queueMs: { type: "number" },
      usage: { type: "object" },
    },
  },
  DeploymentRequest: {
    type: "object",
    required: ["image"],
    additionalProperties: false,
    properties: {
      image: text,
      ...program,
      retry: {
        type: "object",
        additionalProperties: false,
        properties: {
          attempts: { type: "integer", minimum: 1, maximum: 20 },
          on: { type: "array", items: text },
          backoff: text,
          maxBackoff: text,
        },
      },
      pure: { type: "array", items: text },
      concurrency: { type: "integer", minimum: 1 },
    },
  },
  Deployment: {
    type: "object",
    required: ["namespace", "name", "program", "retry", "pure", "deployedAt", "version"],
    properties: {
      namespace: text,
      name: text,
      program: {
        type: "object",
        required: ["module", "limits"],
        properties: {
          module: { type: "object", properties: { image: text, digest: text } },
          ...program,
        },
      },
      retry: { type: "object", required: ["attempts", "backoffMs", "mostBackoffMs"] },
      pure: { type: "array", items: text },
      functions: { type: "array", items: text },
      concurrency: { type: "integer" },
      deployedAt: text,
      version: text,
    },
  },
  Workflow: {
    description: "A Workflow of Argo's, with its status",
    type: "object",
    required: ["apiVersion", "kind", "metadata", "status"],
    properties: {
      apiVersion: text,
      kind: text,
      metadata: { type: "object" },
      spec: { type: "object" },
      status: { type: "object", required: ["phase"] },
    },
  },
};

/** The description of the API (OpenAPI 3.1), served as `/openapi.json`. A test compares it with what the server does. */
export function openApi(): Json {
  return {
    openapi: "3.1.0",
    info: {
      title: "Atalanta",
      version: "1",
      description: "Calls functions of WebAssembly modules, and runs workflows of them.",
    },
    security: [{}, { token: [] }],
    paths: {
      ...Object.fromEntries(
        Object.entries(paths).map(([below, item]) => [`/v1/namespaces/{namespace}${below}`, item]),
      ),
      ...general,
    },
    components: { schemas, securitySchemes: { token: { type: "http", scheme: "bearer" } } },
  };
}
