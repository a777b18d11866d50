// Custom resource definitions for the kinds of Argo Workflows 4.1 that we meet, written by us: as narrow as Argo's own where that decides what is dropped (unknown keys of
// templates, except below `plugin`), and open everywhere else.
type Schema = Readonly<Record<string, unknown>>;

const open: Schema = { "x-kubernetes-preserve-unknown-fields": true };

/** Keys of a template that a cluster knows. */
const templateKeys = [
  "activeDeadlineSeconds",
  "affinity",
  "annotations",
  "archiveLocation",
  "automountServiceAccountToken",
  "container",
  "containerSet",
  "daemon",
  "dag",
  "data",
  "executor",
  "failFast",
  "hostAliases",
  "http",
  "initContainers",
  "inputs",
  "memoize",
  "metadata",
  "metrics",
  "name",
  "nodeSelector",
  "outputs",
  "parallelism",
  "pendingTimeout",
  "plugin",
  "podResources",
  "podSpecPatch",
  "priorityClassName",
  "resource",
  "resourceClaims",
  "retryStrategy",
  "schedulerName",
  "script",
  "securityContext",
  "serviceAccountName",
  "sidecars",
  "steps",
  "suspend",
  "synchronization",
  "timeout",
  "tolerations",
  "volumes",
];

const template: Schema = {
  type: "object",
  properties: Object.fromEntries(templateKeys.map((key) => [key, open])),
};

const workflowSpec: Schema = {
  type: "object",
  ...open,
  properties: { templates: { type: "array", items: template }, templateDefaults: template },
};

const nodeResult: Schema = {
  type: "object",
  properties: {
    message: { type: "string" },
    outputs: { type: "object", ...open },
    phase: { type: "string" },
    progress: { type: "string" },
  },
};

interface Definition {
  readonly kind: string;
  readonly plural: string;
  readonly short: string;
  readonly scope: "Namespaced" | "Cluster";
  readonly spec: Schema;
  readonly status?: Schema;
  /** Whether the status is written by a path of its own. */
  readonly statusPath?: boolean;
}

const definitions: readonly Definition[] = [
  { kind: "Workflow", plural: "workflows", short: "wf", scope: "Namespaced", spec: workflowSpec },
  {
    kind: "WorkflowTemplate",
    plural: "workflowtemplates",
    short: "wftmpl",
    scope: "Namespaced",
    spec: workflowSpec,
  },
  {
    kind: "ClusterWorkflowTemplate",
    plural: "clusterworkflowtemplates",
    short: "cwft",
    scope: "Cluster",
    spec: workflowSpec,
  },
  {
    kind: "CronWorkflow",
    plural: "cronworkflows",
    short: "cwf",
    scope: "Namespaced",
    spec: { type: "object", ...open, properties: { workflowSpec } },
  },
  {
    kind: "WorkflowTaskSet",
    plural: "workflowtasksets",
    short: "wfts",
    scope: "Namespaced",
    spec: {
      type: "object",
      properties: { tasks: { type: "object", additionalProperties: template } },
    },
    status: {
      type: "object",
      properties: { nodes: { type: "object", additionalProperties: nodeResult } },
    },
    statusPath: true,
  },
];

/** Each as an object for the API server. */
export const argoCrds: readonly (Schema & { readonly metadata: { readonly name: string } })[] =
  definitions.map(({ kind, plural, short, scope, spec, status = open, statusPath = false }) => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.argoproj.io` },
    spec: {
      group: "argoproj.io",
      scope,
      names: {
        kind,
        plural,
        singular: kind.toLowerCase(),
        shortNames: [short],
        listKind: `${kind}List`,
      },
      versions: [
        {
          name: "v1alpha1",
          served: true,
          storage: true,
          ...(statusPath ? { subresources: { status: {} } } : {}),
          schema: {
            openAPIV3Schema: {
              type: "object",
              required: ["metadata", "spec"],
              properties: { spec, status },
            },
          },
        },
      ],
    },
  }));
