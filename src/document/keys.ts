import { ceilings } from "../limits/mod.ts";
import {
  allowed,
  any,
  flag,
  idle,
  list,
  mapOf,
  offered,
  object,
  refused,
  scalar,
  text,
  whole,
  type Form,
  type Key,
  type ObjectShape,
  type Shape,
} from "./shapes.ts";
import { archiveLocation, artifactGc, locationKeys, repositoryRef, workflowGc } from "./stores.ts";

/**
 * Every key of Argo Workflows 4.1 with what happens to it here: offered, idle (understood, and without effect on one machine: a
 * warning) or refused (it would change what the workflow means: an error). The reader and the JSON Schema are both made from this table.
 */

const texts: Shape = mapOf(text());
const noPods = "there are no pods on one machine";
const onlyPods = (...names: string[]): Record<string, Key> =>
  Object.fromEntries(names.map((name) => [name, idle(noPods)]));
const metadata = object("Metadata", "Name, labels and annotations.", {
  name: offered("Name of the run.", text("object name")),
  generateName: offered("Beginning of a name that is completed at each run.", text("name prefix")),
  namespace: offered("Known as {{workflow.namespace}}.", text("label")),
  labels: offered("Known as {{workflow.labels.NAME}}.", texts),
  annotations: offered("Known as {{workflow.annotations.NAME}}.", texts),
  ...Object.fromEntries(
    [
      "creationTimestamp",
      "deletionGracePeriodSeconds",
      "deletionTimestamp",
      "finalizers",
      "generation",
      "managedFields",
    ]
      .concat("ownerReferences", "resourceVersion", "selfLink", "uid")
      .map((name) => [name, idle("the API server of a cluster writes it")]),
  ),
});

const configMapKeyRef = object(
  "KeyReference",
  "A key of a ConfigMap that is among the files.",
  {
    name: offered("Name of the ConfigMap.", text()),
    key: offered("Key in its data.", text()),
    optional: offered("Whether it may be missing.", flag),
  },
  "name",
  "key",
);

const parameter = object(
  "Parameter",
  "A text that goes in or out.",
  {
    name: offered("Name of the parameter.", text("parameter name")),
    value: offered("Its value.", scalar),
    default: offered("Used when no value is given.", scalar),
    enum: offered("The values that are allowed.", list(scalar)),
    description: offered("For people.", text()),
    globalName: offered(
      "Also published as {{workflow.outputs.parameters.NAME}}.",
      text("parameter name"),
    ),
    valueFrom: offered(
      "Where the value comes from.",
      object("ValueFrom", "Where a value comes from.", {
        path: offered("A file that the step wrote.", text("path")),
        parameter: offered("Another parameter, such as {{steps.a.outputs.parameters.b}}.", text()),
        expression: offered("An expression over what is known.", text("expression")),
        default: offered("Used when there is no value.", scalar),
        supplied: offered(
          "Given by `resume`; outputs of suspend templates only.",
          object("Supplied", "No keys.", {}),
        ),
        configMapKeyRef: offered("A key of a ConfigMap that is among the files.", configMapKeyRef),
        event: refused("Nothing triggers workflows here. Pass the value with -p NAME=VALUE."),
        jqFilter: refused("It belongs to resource templates, which need a cluster."),
        jsonPath: refused("It belongs to resource templates, which need a cluster."),
        secretKeyRef: refused(
          "There is no store of secrets here. Pass the value with -p NAME=VALUE.",
        ),
      }),
    ),
  },
  "name",
);

const nothing = object("None", "No keys.", {});

const artifact = object(
  "Artifact",
  "A file or folder that goes in or out.",
  {
    name: offered("Name of the artifact.", text("artifact name")),
    path: offered("Absolute path in the sandbox.", text("path")),
    optional: offered("Whether it may be missing.", flag),
    from: offered("Another artifact, such as {{steps.a.outputs.artifacts.b}}.", text()),
    fromExpression: offered("An expression that yields an artifact.", text("expression")),
    subPath: offered("A file or folder inside it.", text()),
    globalName: offered(
      "Also published as {{workflow.outputs.artifacts.NAME}}.",
      text("parameter name"),
    ),
    mode: offered("Permission bits, such as 0755.", whole(0, 0o7777)),
    recurseMode: offered("Whether mode holds for everything in the folder.", flag),
    archive: offered(
      "How it is packed when it leaves.",
      object("Archive", "How an artifact is packed.", {
        none: offered("As it is.", nothing),
        tar: offered(
          "A gzip'd tarball.",
          object("Tar", "A gzip'd tarball.", {
            compressionLevel: offered("0 to 9.", whole(-2, 9)),
          }),
        ),
        zip: offered("A zip file.", nothing),
      }),
    ),
    ...locationKeys,
    archiveLogs: idle("the key of archiveLocation or of the workflow counts"),
    deleted: idle("the controller of a cluster writes it"),
    artifactGC: offered("When the copy in a store is deleted.", artifactGc),
  },
  "name",
);

const argumentKeys: Readonly<Record<string, Key>> = {
  parameters: offered("Texts.", list(parameter)),
  artifacts: offered("Files and folders.", list(artifact)),
};
const givenArguments = object("Arguments", "Parameters and artifacts.", argumentKeys);
const outputs = object("Outputs", "Parameters and artifacts that a template hands on.", {
  ...argumentKeys,
  result: refused("The run sets it: what the step writes to stdout. Remove the key."),
  exitCode: refused("The run sets it. Remove the key."),
});

const secretKeyRef = object(
  "SecretKeyReference",
  "A key of a secret.",
  {
    name: offered("Name of the secret.", text()),
    key: offered("Key of the secret.", text()),
    optional: offered("The variable is missing when the secret is.", flag),
  },
  "name",
  "key",
);

const environment = list(
  object(
    "EnvironmentVariable",
    "A variable of the environment.",
    {
      name: offered("Its name.", text()),
      value: offered("Its value.", scalar),
      valueFrom: offered(
        "Where the value comes from.",
        object("EnvironmentSource", "Where a variable's value comes from.", {
          configMapKeyRef: offered(
            "A key of a ConfigMap that is among the files.",
            configMapKeyRef,
          ),
          secretKeyRef: offered(
            "A secret of the operator's. The module gets a placeholder for it.",
            secretKeyRef,
          ),
          fieldRef: refused("There are no pods here. Use a value such as {{workflow.name}}."),
          resourceFieldRef: refused("There are no pods here. Write the value."),
          fileKeyRef: refused("There are no volumes here. Write the value."),
        }),
      ),
    },
    "name",
  ),
);

const limitForms = { bytes: "bytes", duration: "time limit", count: "amount" } as const;
const limits = object(
  "Limits",
  "Ceilings of one run of the module.",
  Object.fromEntries(
    Object.entries(ceilings).map(([key, { scope, summary, unit, default: value }]) => [
      key,
      scope === "step"
        ? offered(`${summary}; ${value} is the default.`, scalarOf(limitForms[unit]))
        : refused(
            `The host sets it: limits.${key} in the file for --config, or --limit ${key}=VALUE.`,
          ),
    ]),
  ),
);

const allowedHosts: Shape = list({
  kind: "either",
  shapes: [
    text("allowed host"),
    object(
      "AllowedHost",
      "Requests that are allowed.",
      {
        host: offered("A name, an address, or *.example.com for every name below it.", text()),
        scheme: offered("Default https.", text(["https", "http"])),
        port: offered("Default the scheme's own.", scalar),
        methods: offered("Default all.", list(text())),
        pathPrefix: offered("Default all paths.", text()),
      },
      "host",
    ),
  ],
});
const permissions = permissionsWith({
  allowedHosts: offered(
    'Hosts such as "api.example.com" or "GET https://*.example.com:8443/v1/".',
    allowedHosts,
  ),
});

function permissionsWith(keys: Readonly<Record<string, Key>>): ObjectShape {
  return object("Permissions", "What a module may do.", {
    http: offered("HTTP requests.", object("HttpPermissions", "HTTP requests.", keys)),
  });
}

function scalarOf(form: Form): Shape {
  return { kind: "scalar", form };
}

const pullPolicy = offered("When the image is pulled.", text(["Always", "IfNotPresent", "Never"]));
const wasmMap = object("WasmMap", "Runs the module for each item of a list, as one step.", {
  items: offered("The items: a list, or text that is a JSON list.", any),
  artifact: offered(
    "Instead of items: the input artifact that has them, as a JSON list or a JSON value a line.",
    text(),
  ),
  parallelism: offered("Items at once; default 8.", whole(1, 64)),
  maxFailures: offered("Items that may fail; default 0.", whole(0)),
  results: offered("The output artifact that gets a line of JSON for each item.", text()),
});
const wasmKeys: Readonly<Record<string, Key>> = {
  image: offered("OCI reference of the module.", text()),
  imagePullPolicy: pullPolicy,
  module: offered("Module file, relative to the workflow's file; local runs only.", text()),
  command: offered(
    "Arguments of the module. argv[0] is the image's entry point, whose own arguments they replace.",
    list(scalar),
  ),
  args: offered("Further arguments, after those of command.", list(scalar)),
  env: offered("Environment of the module; it gets nothing else.", environment),
  stdin: offered("Text on standard input.", text()),
  map: offered(
    "Run it for each item of a list. $(item), $(item.key) and $(index) stand for it in command, args, env and stdin; outputs.result is the list of results.",
    wasmMap,
  ),
  limits: offered("Ceilings of one run of the module.", limits),
  permissions: offered("What the module may do; nothing by default.", permissions),
  trust: offered(
    "How far it is kept from others: on a thread, in a process of its owner's, in a pod. A host may have a stronger class for all.",
    text(["thread", "process", "pod"]),
  ),
};
const wasm: ObjectShape = object("Wasm", "Runs a WebAssembly module in a fresh sandbox.", wasmKeys);
const prototypeModule = object("PrototypeModule", "The module as an earlier prototype named it.", {
  oci: offered("OCI reference of the module.", text()),
});
const pluginWasm = object("PluginWasm", "Runs a WebAssembly module in a fresh sandbox.", {
  ...wasmKeys,
  permissions: offered(
    "What the module may do; nothing by default.",
    permissionsWith({
      allowedHosts: offered("Hosts that it may reach.", allowedHosts),
      allowed_hosts: offered("As an earlier prototype wrote allowedHosts.", allowedHosts),
    }),
  ),
  module: offered("Module file, or {oci: IMAGE}.", {
    kind: "either",
    shapes: [text(), prototypeModule],
  }),
  node: offered(
    "{{node.name}}: tells steps with the same words apart for Argo's executor plugin.",
    text(),
  ),
  attempt: offered("{{retries}}: the same for the attempts of one.", text()),
});

const onlyBoth = "Only memory and cpu are offered. Remove the key.";
const probe = refused("Nothing probes a container here. Remove the key.");
const noVolumes = refused("There are no volumes here. Pass files as artifacts.");
const containerKeys: Readonly<Record<string, Key>> = {
  image: offered("The image.", text()),
  name: offered("For people.", text()),
  command: offered("Replaces the image's entry point.", list(scalar)),
  args: offered("Arguments.", list(scalar)),
  env: offered("Environment.", environment),
  workingDir: offered("Folder it starts in.", text()),
  imagePullPolicy: pullPolicy,
  resources: offered(
    "Memory and processor.",
    object("Resources", "Memory and processor.", {
      limits: offered("At most.", {
        ...object("ResourceLimits", "At most.", resourceKeys()),
        others: onlyBoth,
      }),
      requests: offered("At least.", {
        ...object("ResourceRequests", "At least.", resourceKeys()),
        others: onlyBoth,
      }),
      claims: refused("There are no devices to claim here. Remove the key."),
    }),
  ),
  envFrom: refused("List the variables under env, with valueFrom.configMapKeyRef."),
  volumeMounts: noVolumes,
  volumeDevices: noVolumes,
  lifecycle: refused("Nothing calls it here. Remove the key."),
  livenessProbe: probe,
  readinessProbe: probe,
  startupProbe: probe,
  restartPolicy: refused("Use retryStrategy."),
  restartPolicyRules: refused("Use retryStrategy."),
  stdin: idle("nothing is attached to the container"),
  stdinOnce: idle("nothing is attached to the container"),
  tty: idle("nothing is attached to the container"),
  ports: idle("nothing connects to the container"),
  securityContext: idle("the container runtime's own rules hold"),
  ...onlyPods("resizePolicy", "terminationMessagePath", "terminationMessagePolicy"),
};

function resourceKeys(): Readonly<Record<string, Key>> {
  return {
    memory: offered("Bytes, such as 256Mi.", scalarOf("bytes")),
    cpu: offered("Processors, such as 500m.", scalarOf("cpu")),
    "ephemeral-storage": idle("the file system is not divided"),
  };
}

const container: ObjectShape = {
  ...object("Container", "Runs a container image.", containerKeys),
  late: ["image"],
};
const script: ObjectShape = {
  ...object("Script", "Runs a script in a container image.", {
    ...containerKeys,
    source: offered("The script.", text()),
  }),
  late: ["image", "source"],
};

const templateRef = object(
  "TemplateRef",
  "A template of a WorkflowTemplate that is among the files.",
  {
    name: offered("Name of the WorkflowTemplate.", text()),
    template: offered("Name of the template in it.", text()),
    clusterScope: offered("Whether it is a ClusterWorkflowTemplate.", flag),
    runtimeResolution: idle("Argo has not looked at it since 2.12"),
  },
  "name",
  "template",
);

const hook = object("LifecycleHook", "A template that runs when something has happened.", {
  template: offered("Name of the template.", text()),
  templateRef: offered("A template of a WorkflowTemplate.", templateRef),
  arguments: offered("What it is given.", givenArguments),
  expression: offered("When it runs; the hook named exit needs none.", text("expression")),
});
const hooks = mapOf(hook);

const sequence = object("Sequence", "Numbers to loop over.", {
  count: offered("How many.", scalarOf("count")),
  start: offered("First number; 0 is the default.", scalarOf("number")),
  end: offered("Last number.", scalarOf("number")),
  format: offered("printf form, such as page-%02d.", text()),
});

const stepKeys = (inline: () => ObjectShape): Readonly<Record<string, Key>> => ({
  name: offered("Name of the step.", text("name")),
  template: offered("Name of the template it runs.", text()),
  templateRef: offered("A template of a WorkflowTemplate.", templateRef),
  inline: offered("The template itself.", { kind: "later", shape: inline }),
  arguments: offered("What the template is given.", givenArguments),
  withItems: offered("Run it once for each of these, known as {{item}}.", list(any)),
  withParam: offered("Run it once for each item of this JSON list.", text()),
  withSequence: offered("Run it once for each of these numbers.", sequence),
  when: offered("Run it only if this holds.", text("condition")),
  continueOn: offered(
    "Go on although it failed.",
    object("ContinueOn", "After which ends the workflow goes on.", {
      failed: offered("After a failure.", flag),
      error: offered("After an error.", flag),
    }),
  ),
  onExit: offered("Template that runs after it, whatever way it ended.", text()),
  hooks: offered("Templates that run when something has happened to it.", hooks),
});

const step: ObjectShape = object(
  "Step",
  "A step.",
  stepKeys(() => inlineTemplate),
  "name",
);
const task: ObjectShape = object(
  "Task",
  "A task of a DAG.",
  {
    ...stepKeys(() => inlineTemplate),
    dependencies: offered("Tasks that must end first.", list(text())),
    depends: offered(
      "What must have happened first, such as `a.Succeeded && !b`.",
      text("depends"),
    ),
  },
  "name",
);

const retryStrategy = object("RetryStrategy", "Whether and when a step that failed runs again.", {
  limit: offered("How often at most.", scalarOf("count")),
  retryPolicy: offered("After what.", text(["Always", "OnFailure", "OnError", "OnTransientError"])),
  backoff: offered(
    "How long it waits.",
    object("Backoff", "How long it waits between two attempts.", {
      duration: offered("The first wait: seconds, or 30s, 2m.", scalarOf("duration")),
      factor: offered("What each wait is multiplied with.", scalarOf("number")),
      maxDuration: offered("How long attempts are made at all.", scalarOf("duration")),
      cap: offered("The longest wait.", scalarOf("duration")),
    }),
  ),
  expression: offered("Runs again only if this holds.", text("expression")),
  affinity: idle(noPods),
});

const databaseLock = refused(
  "Locks of a database are not offered. Use a name or a configMapKeyRef.",
);
const mutex = object(
  "Mutex",
  "A lock that one holder has at a time.",
  {
    name: offered("Its name.", text()),
    namespace: offered("Namespace of the name.", text("label")),
    database: databaseLock,
  },
  "name",
);
const semaphore = object(
  "Semaphore",
  "A lock that several holders have at a time.",
  {
    configMapKeyRef: offered(
      "How many: a key of a ConfigMap that is among the files.",
      configMapKeyRef,
    ),
    namespace: offered("Namespace of the ConfigMap.", text("label")),
    database: databaseLock,
  },
  "configMapKeyRef",
);
const synchronization = object("Synchronization", "Locks to hold while it runs.", {
  mutex: offered("One mutex.", mutex),
  mutexes: offered("Mutexes.", list(mutex)),
  semaphore: offered("One semaphore.", semaphore),
  semaphores: offered("Semaphores.", list(semaphore)),
});

const memoize = object(
  "Memoize",
  "Outputs are remembered under a key, and not computed again.",
  {
    key: offered("The key.", text()),
    maxAge: offered("How long they are good, such as 24h.", text("duration")),
    cache: offered(
      "Where they are kept.",
      object(
        "Cache",
        "Where outputs are kept.",
        {
          configMap: offered(
            "Name of the cache.",
            object(
              "CacheName",
              "Name of the cache.",
              { name: offered("Its name.", text()) },
              "name",
            ),
          ),
        },
        "configMap",
      ),
    ),
  },
  "key",
  "cache",
);

const podMetadata = object("PodMetadata", "Labels and annotations.", {
  labels: offered("Labels.", texts),
  annotations: offered(
    "Annotations; `atalanta.dev/runtime: wasm` runs a container template as Wasm.",
    texts,
  ),
});

const notHere = "Run this workflow on a cluster with Argo, or write the step as wasm or container.";
const templateKeys: Readonly<Record<string, Key>> = {
  name: offered("Name of the template.", text("name")),
  inputs: offered(
    "What it must be given.",
    object("Inputs", "Parameters and artifacts.", argumentKeys),
  ),
  outputs: offered("What it hands on.", outputs),
  wasm: offered("Runs a WebAssembly module in a fresh sandbox.", wasm),
  plugin: offered("`wasm` in the form that a cluster with Argo accepts.", {
    ...object("Plugin", "Only the plugin wasm is offered.", {
      wasm: offered("As the key wasm.", pluginWasm),
    }),
    others: "Only the plugin wasm is offered.",
  }),
  container: offered("Runs a container image.", container),
  script: offered("Runs a script in a container image.", script),
  steps: offered(
    "Groups of steps: groups run one after the other, the steps of a group together.",
    list(list(step)),
  ),
  dag: offered(
    "Tasks that depend on each other.",
    object(
      "Dag",
      "Tasks that depend on each other.",
      {
        tasks: offered("The tasks.", list(task)),
        target: offered("Tasks that must end, separated by blanks.", text()),
        failFast: offered("Whether nothing starts after a failure; true is the default.", flag),
      },
      "tasks",
    ),
  ),
  suspend: offered(
    "Waits.",
    object("Suspend", "Waits.", {
      duration: offered("How long; for `resume` when absent.", scalarOf("duration")),
    }),
  ),
  retryStrategy: offered("Whether and when it runs again after a failure.", retryStrategy),
  timeout: offered(
    "How long it may take, waiting included, such as 30s.",
    text("duration with unit"),
  ),
  activeDeadlineSeconds: offered("Seconds that it may run.", scalarOf("count")),
  parallelism: offered("Steps that run at once, at most.", whole(1)),
  failFast: offered("With parallelism: whether nothing starts after a failure.", flag),
  synchronization: offered("Locks to hold while it runs.", synchronization),
  memoize: offered("Whether outputs are remembered.", memoize),
  annotations: offered("`atalanta.dev/runtime: wasm` runs a container template as Wasm.", texts),
  metadata: offered("Labels and annotations.", podMetadata),
  containerSet: refused("Write each container as a step of its own."),
  resource: refused(`It needs a cluster. ${notHere}`),
  data: refused(notHere),
  http: refused(notHere),
  daemon: refused("Nothing goes on running beside other steps here. Remove the key."),
  sidecars: refused("Nothing runs beside the step here. Remove the key."),
  initContainers: refused("Write what it prepares as a step before this one."),
  volumes: noVolumes,
  podSpecPatch: refused("There are no pods here. Remove the key."),
  hostAliases: refused("Remove the key, and use the addresses themselves."),
  resourceClaims: refused("There are no devices to claim here. Remove the key."),
  metrics: refused("Use `get` and `--json` to see what a run took. Remove the key."),
  archiveLocation: offered("Where its outputs go that do not say it.", archiveLocation),
  executor: idle(noPods),
  ...onlyPods(
    "affinity",
    "automountServiceAccountToken",
    "nodeSelector",
    "pendingTimeout",
    "podResources",
  ),
  ...onlyPods(
    "priority",
    "priorityClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "tolerations",
  ),
  ...onlyPods("resubmitPendingPods"),
};

/** A template, wherever it stands. */
export const template: ObjectShape = object(
  "Template",
  "What a step runs: exactly one of wasm, plugin, container, script, steps, dag, suspend.",
  templateKeys,
  "name",
);
const inlineTemplate: ObjectShape = object(
  "InlineTemplate",
  "A template without a name.",
  templateKeys,
);

const specKeys: Readonly<Record<string, Key>> = {
  entrypoint: offered("Template that the run begins with.", text()),
  arguments: offered("Parameters and artifacts of the workflow.", givenArguments),
  templates: offered("The templates.", list(template)),
  templateDefaults: offered(
    "What every template gets that does not say it itself.",
    inlineTemplate,
  ),
  workflowTemplateRef: offered(
    "A WorkflowTemplate that is among the files and that this workflow runs.",
    object(
      "WorkflowTemplateRef",
      "A WorkflowTemplate that is among the files.",
      {
        name: offered("Its name.", text()),
        clusterScope: offered("Whether it is a ClusterWorkflowTemplate.", flag),
      },
      "name",
    ),
  ),
  onExit: offered("Template that runs at the end, whatever way it ended.", text()),
  hooks: offered("Templates that run when something has happened.", hooks),
  parallelism: offered("Steps that run at once, at most.", whole(1)),
  activeDeadlineSeconds: offered("Seconds that the run may take.", whole(0)),
  synchronization: offered("Locks to hold while it runs.", synchronization),
  retryStrategy: offered("For every template that has none of its own.", retryStrategy),
  suspend: offered("Whether it waits for `resume` before it begins.", flag),
  workflowMetadata: offered(
    "Labels and annotations of the run.",
    object("WorkflowMetadata", "Labels and annotations of the run.", {
      labels: offered("Labels.", texts),
      annotations: offered("Annotations.", texts),
      labelsFrom: refused("Write the labels under labels."),
    }),
  ),
  priority: allowed("Known as {{workflow.priority}}.", whole(), "runs are not queued here"),
  artifactGC: offered("When artifacts in stores are deleted.", workflowGc),
  executorPlugins: refused("Only the plugin wasm is offered. Remove the key."),
  hostAliases: refused("Remove the key, and use the addresses themselves."),
  metrics: refused("Use `get` and `--json` to see what a run took. Remove the key."),
  podSpecPatch: refused("There are no pods here. Remove the key."),
  resourceClaims: refused("There are no devices to claim here. Remove the key."),
  shutdown: refused("Stop a run with `stop` or `terminate`. Remove the key."),
  volumes: noVolumes,
  volumeClaimTemplates: noVolumes,
  archiveLogs: offered("Whether logs go to the artifact repository, too.", flag),
  artifactRepositoryRef: offered("Its artifact repository.", repositoryRef),
  executor: idle(noPods),
  podGC: idle(noPods),
  podMetadata: idle(noPods),
  ttlStrategy: idle("runs are kept until `delete`"),
  volumeClaimGC: idle("there are no volumes"),
  ...onlyPods(
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "hostNetwork",
    "imagePullSecrets",
  ),
  ...onlyPods(
    "nodeSelector",
    "podDisruptionBudget",
    "podPriority",
    "podPriorityClassName",
    "podResources",
  ),
  ...onlyPods("schedulerName", "securityContext", "serviceAccountName", "tolerations"),
};

const spec = object("WorkflowSpec", "What is run.", specKeys);

const root = (
  kind: string,
  says: string,
  version: string,
  keys: Readonly<Record<string, Key>>,
  ...required: string[]
) =>
  object(
    kind,
    says,
    {
      apiVersion: offered("Version of the format.", text([version])),
      kind: offered("What it is.", text([kind])),
      metadata: offered("Name, labels and annotations.", metadata),
      ...keys,
    },
    "apiVersion",
    "kind",
    ...required,
  );

const argoVersion = "argoproj.io/v1alpha1";
const status = idle("it tells of another run");

/** What a document of each kind may hold. */
export const kinds: ReadonlyMap<string, ObjectShape> = new Map(
  [
    root(
      "Workflow",
      "A workflow to run.",
      argoVersion,
      { spec: offered("What is run.", spec), status },
      "spec",
    ),
    root(
      "WorkflowTemplate",
      "Templates that workflows refer to.",
      argoVersion,
      { spec: offered("The templates.", spec) },
      "metadata",
      "spec",
    ),
    root(
      "ClusterWorkflowTemplate",
      "Templates that workflows refer to with clusterScope.",
      argoVersion,
      { spec: offered("The templates.", spec) },
      "metadata",
      "spec",
    ),
    root(
      "ConfigMap",
      "Values that workflows refer to.",
      "v1",
      {
        data: offered("The values.", texts),
        binaryData: refused("Pass the file as an artifact."),
        immutable: idle("nothing changes it here"),
      },
      "metadata",
    ),
  ].map((shape) => [shape.name, shape]),
);

/** A `List` of documents of these kinds. */
export const listShape: ObjectShape = object("List", "Several of them.", {
  apiVersion: offered("Version of the format.", text(["v1", argoVersion])),
  kind: offered("What it is.", text(["List"])),
  metadata: idle("the API server of a cluster writes it"),
  items: offered("The documents.", list(any)),
});
