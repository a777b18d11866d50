/** What a value of the document may be. */
export type Shape =
  | { readonly kind: "text" | "scalar" | "flag" | "any" }
  | { readonly kind: "list"; readonly of: Shape }
  | {
      readonly kind: "object";
      readonly keys: ReadonlyMap<string, Shape>;
      readonly required: readonly string[];
    }
  | { readonly kind: "map" };

const text: Shape = { kind: "text" };
const scalar: Shape = { kind: "scalar" };
const flag: Shape = { kind: "flag" };
const list = (of: Shape): Shape => ({ kind: "list", of });
const object = (keys: Readonly<Record<string, Shape>>, ...required: string[]): Shape => ({
  kind: "object",
  keys: new Map(Object.entries(keys)),
  required,
});

const parameter = object(
  {
    name: text,
    value: scalar,
    default: scalar,
    description: text,
    enum: list(scalar),
    valueFrom: object({ path: text, parameter: text, default: scalar }),
  },
  "name",
);
const artifact = object(
  {
    name: text,
    path: text,
    optional: flag,
    from: text,
    subPath: text,
    raw: object({ data: text }, "data"),
  },
  "name",
);
const args = object({ parameters: list(parameter), artifacts: list(artifact) });
const wasm = object({
  image: text,
  module: text,
  command: list(scalar),
  args: list(scalar),
  env: list(object({ name: text, value: scalar }, "name")),
  stdin: text,
  limits: object({
    memory: scalar,
    time: scalar,
    output: scalar,
    files: scalar,
    fileCount: scalar,
  }),
});
const step = {
  name: text,
  template: text,
  arguments: args,
  withItems: list({ kind: "any" }),
  withParam: text,
  continueOn: object({ failed: flag, error: flag }),
};
const template = object(
  {
    name: text,
    inputs: args,
    outputs: args,
    wasm,
    plugin: object({ wasm }, "wasm"),
    steps: list(list(object(step, "name", "template"))),
    dag: object(
      { tasks: list(object({ ...step, dependencies: list(text) }, "name", "template")) },
      "tasks",
    ),
  },
  "name",
);

/** The whole document. Whatever is not named here is refused, with its line. */
export const workflowShape: Shape = object(
  {
    apiVersion: text,
    kind: text,
    metadata: object({
      name: text,
      generateName: text,
      namespace: text,
      labels: { kind: "map" },
      annotations: { kind: "map" },
    }),
    spec: object(
      { entrypoint: text, arguments: args, templates: list(template) },
      "entrypoint",
      "templates",
    ),
  },
  "apiVersion",
  "kind",
  "spec",
);

/** Keys of Argo that we know and do not offer yet: the message says so instead of "unknown". */
export const unsupportedKeys: ReadonlySet<string> = new Set(
  `container script containerSet resource data http suspend daemon sidecars initContainers volumes retryStrategy onExit
  hooks timeout activeDeadlineSeconds parallelism failFast synchronization memoize templateDefaults workflowTemplateRef
  templateRef inline when withSequence depends expression globalName archive s3 http git gcs azure oss hdfs artifactory
  mode recurseMode fromExpression jsonPath jqFilter supplied event configMapKeyRef serviceAccountName permissions
  nodeSelector affinity tolerations podGC ttlStrategy artifactGC priority securityContext podSpecPatch metrics`.split(
    /\s+/,
  ),
);
