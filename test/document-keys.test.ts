import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readBundle } from "../src/document/mod.ts";

type State = "offered" | "idle" | "refused";

/** Every key of Argo Workflows 4.1, by Argo's name of its type, with what happens to it here. */
const argo: Readonly<Record<string, Readonly<Partial<Record<State, string>>>>> = {
  Workflow: {
    offered: "apiVersion kind metadata spec",
    idle: "status",
  },
  WorkflowTemplate: {
    offered: "apiVersion kind metadata spec",
  },
  ObjectMeta: {
    offered: "annotations generateName labels name namespace",
    idle: `creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generation
      managedFields ownerReferences resourceVersion selfLink uid`,
  },
  WorkflowSpec: {
    offered: `activeDeadlineSeconds archiveLogs arguments artifactGC artifactRepositoryRef entrypoint
      hooks onExit parallelism priority retryStrategy suspend synchronization templateDefaults
      templates workflowMetadata workflowTemplateRef`,
    idle: `affinity automountServiceAccountToken dnsConfig
      dnsPolicy executor hostNetwork imagePullSecrets nodeSelector podDisruptionBudget
      podGC podMetadata podPriorityClassName podResources schedulerName securityContext
      serviceAccountName tolerations ttlStrategy volumeClaimGC`,
    refused: `executorPlugins hostAliases metrics podSpecPatch resourceClaims shutdown
      volumeClaimTemplates volumes`,
  },
  WorkflowMetadata: {
    offered: "annotations labels",
    refused: "labelsFrom",
  },
  WorkflowTemplateRef: {
    offered: "clusterScope name",
  },
  Template: {
    offered: `activeDeadlineSeconds annotations archiveLocation container dag failFast inputs memoize metadata name
      outputs parallelism plugin retryStrategy script steps suspend synchronization timeout`,
    idle: `affinity automountServiceAccountToken executor nodeSelector
      pendingTimeout podResources priorityClassName schedulerName securityContext
      serviceAccountName tolerations`,
    refused: `containerSet daemon data hostAliases http initContainers metrics podSpecPatch
      resource resourceClaims sidecars volumes`,
  },
  Inputs: {
    offered: "artifacts parameters",
  },
  Outputs: {
    offered: "artifacts parameters",
    refused: "exitCode result",
  },
  Arguments: {
    offered: "artifacts parameters",
  },
  Parameter: {
    offered: "default description enum globalName name value valueFrom",
  },
  ValueFrom: {
    offered: "configMapKeyRef default expression parameter path supplied",
    refused: "event jqFilter jsonPath",
  },
  Artifact: {
    offered: `archive artifactGC artifactory azure from fromExpression gcs git globalName http mode
      name optional oss path raw recurseMode s3 subPath`,
    idle: "archiveLogs deleted",
    refused: "hdfs plugin",
  },
  ArtifactLocation: {
    offered: "archiveLogs artifactory azure gcs http oss s3",
    refused: "git hdfs plugin raw",
  },
  S3Artifact: {
    offered: `accessKeySecret addressingStyle bucket caSecret createBucketIfNotPresent
      encryptionOptions endpoint insecure key region roleARN secretKeySecret sessionTokenSecret
      useSDKCreds`,
  },
  CreateS3BucketOptions: {
    offered: "objectLocking",
  },
  S3EncryptionOptions: {
    offered: "enableEncryption kmsEncryptionContext kmsKeyId serverSideCustomerKeySecret",
  },
  GCSArtifact: {
    offered: "bucket key serviceAccountKeySecret",
  },
  OSSArtifact: {
    offered:
      "accessKeySecret bucket createBucketIfNotPresent endpoint key secretKeySecret useSDKCreds",
    idle: "lifecycleRule",
    refused: "securityToken",
  },
  AzureArtifact: {
    offered: "accountKeySecret blob container endpoint useSDKCreds",
  },
  ArtifactoryArtifact: {
    offered: "passwordSecret url usernameSecret",
  },
  HTTPArtifact: {
    offered: "auth headers url",
    idle: "saveStreamViaFile",
  },
  HTTPAuth: {
    offered: "basicAuth clientCert oauth2",
  },
  BasicAuth: {
    offered: "passwordSecret usernameSecret",
  },
  ClientCertAuth: {
    offered: "clientCertSecret clientKeySecret",
  },
  OAuth2Auth: {
    offered: "clientIDSecret clientSecretSecret endpointParams scopes tokenURLSecret",
  },
  Header: {
    offered: "name value",
  },
  OAuth2EndpointParam: {
    offered: "key value",
  },
  GitArtifact: {
    offered: `branch depth disableSubmodules fetch insecureIgnoreHostKey insecureSkipTLS
      passwordSecret repo revision singleBranch sshPrivateKeySecret usernameSecret`,
  },
  SecretKeySelector: {
    offered: "key name",
    idle: "optional",
  },
  WorkflowLevelArtifactGC: {
    offered: "strategy",
    idle: "forceFinalizerRemoval podMetadata podSpecPatch serviceAccountName",
  },
  ArtifactGC: {
    offered: "strategy",
    idle: "podMetadata serviceAccountName",
  },
  ArtifactRepositoryRef: {
    offered: "configMap key",
  },
  RawArtifact: {
    offered: "data",
  },
  ArchiveStrategy: {
    offered: "none tar zip",
  },
  TarStrategy: {
    offered: "compressionLevel",
  },
  Container: {
    offered: "args command env image imagePullPolicy name resources workingDir",
    idle: `ports resizePolicy securityContext stdin stdinOnce terminationMessagePath
      terminationMessagePolicy tty`,
    refused: `envFrom lifecycle livenessProbe readinessProbe restartPolicy restartPolicyRules
      startupProbe volumeDevices volumeMounts`,
  },
  ScriptTemplate: {
    offered: "args command env image imagePullPolicy name resources source workingDir",
    idle: `ports resizePolicy securityContext stdin stdinOnce terminationMessagePath
      terminationMessagePolicy tty`,
    refused: `envFrom lifecycle livenessProbe readinessProbe restartPolicy restartPolicyRules
      startupProbe volumeDevices volumeMounts`,
  },
  EnvVar: {
    offered: "name value valueFrom",
  },
  EnvVarSource: {
    offered: "configMapKeyRef secretKeyRef",
    refused: "fieldRef fileKeyRef resourceFieldRef",
  },
  ResourceRequirements: {
    offered: "limits requests",
    refused: "claims",
  },
  ConfigMapKeySelector: {
    offered: "key name optional",
  },
  WorkflowStep: {
    offered: `arguments continueOn hooks inline name onExit template templateRef when withItems
      withParam withSequence`,
  },
  DAGTask: {
    offered: `arguments continueOn dependencies depends hooks inline name onExit template
      templateRef when withItems withParam withSequence`,
  },
  DAGTemplate: {
    offered: "failFast target tasks",
  },
  TemplateRef: {
    offered: "clusterScope name template",
  },
  ContinueOn: {
    offered: "error failed",
  },
  Sequence: {
    offered: "count end format start",
  },
  LifecycleHook: {
    offered: "arguments expression template templateRef",
  },
  RetryStrategy: {
    offered: "backoff expression limit retryPolicy",
    idle: "affinity",
  },
  Backoff: {
    offered: "cap duration factor maxDuration",
  },
  Synchronization: {
    offered: "mutexes semaphores",
  },
  Mutex: {
    offered: "name namespace",
    refused: "database",
  },
  SemaphoreRef: {
    offered: "configMapKeyRef namespace",
    refused: "database",
  },
  Memoize: {
    offered: "cache key maxAge",
  },
  Cache: {
    offered: "configMap",
  },
  SuspendTemplate: {
    offered: "duration",
  },
  Metadata: {
    offered: "labels annotations",
  },
  ConfigMap: {
    offered: "apiVersion kind metadata data",
    idle: "immutable",
    refused: "binaryData",
  },
};

/** Keys of earlier versions of Argo, of an earlier prototype, and our own. */
const others: typeof argo = {
  WorkflowSpec: { idle: "podPriority" },
  Template: { offered: "wasm", idle: "priority resubmitPendingPods" },
  TemplateRef: { idle: "runtimeResolution" },
  ValueFrom: { refused: "secretKeyRef" },
  Synchronization: { offered: "mutex semaphore" },
  Wasm: { offered: "image module command args env stdin limits permissions" },
  WasmLimits: {
    offered:
      "memory time cpuTime tableElements output logLines files fileSize fileCount descriptors pathLength pathDepth arguments random httpRequests httpBytes",
    refused:
      "stack sandboxes compileTime moduleSize moduleFunctions moduleLocals moduleTypes moduleImports moduleExports moduleGlobals moduleSegments",
  },
};

type Json = Readonly<Record<string, unknown>>;

const template = (keys: Json): Json => workflow({ templates: [{ name: "main", ...keys }] });
const workflow = (spec: Json): Json => ({
  apiVersion: "argoproj.io/v1alpha1",
  kind: "Workflow",
  metadata: {},
  spec,
});
const step = (keys: Json): Json => template({ steps: [[{ name: "a", ...keys }]] });
const parameter = (keys: Json): Json =>
  template({ inputs: { parameters: [{ name: "a", ...keys }] } });
const artifact = (keys: Json): Json =>
  template({ inputs: { artifacts: [{ name: "a", ...keys }] } });
const variable = (keys: Json): Json => template({ wasm: { env: [{ name: "A", ...keys }] } });

/** A document with these keys in a mapping of this type. */
const holders: Readonly<Record<string, (keys: Json) => Json>> = {
  Workflow: (keys) => ({ ...workflow({}), ...keys }),
  WorkflowTemplate: (keys) => ({ ...workflow({}), kind: "WorkflowTemplate", ...keys }),
  ObjectMeta: (keys) => ({ ...workflow({}), metadata: keys }),
  WorkflowSpec: workflow,
  WorkflowMetadata: (keys) => workflow({ workflowMetadata: keys }),
  WorkflowTemplateRef: (keys) => workflow({ workflowTemplateRef: keys }),
  Template: template,
  Inputs: (keys) => template({ inputs: keys }),
  Outputs: (keys) => template({ outputs: keys }),
  Arguments: (keys) => workflow({ arguments: keys }),
  Parameter: parameter,
  ValueFrom: (keys) => parameter({ valueFrom: keys }),
  Artifact: artifact,
  S3Artifact: (keys) => artifact({ s3: keys }),
  RawArtifact: (keys) => artifact({ raw: keys }),
  ArtifactLocation: (keys) => template({ archiveLocation: keys }),
  CreateS3BucketOptions: (keys) => artifact({ s3: { createBucketIfNotPresent: keys } }),
  S3EncryptionOptions: (keys) => artifact({ s3: { encryptionOptions: keys } }),
  GCSArtifact: (keys) => artifact({ gcs: keys }),
  OSSArtifact: (keys) => artifact({ oss: keys }),
  AzureArtifact: (keys) => artifact({ azure: keys }),
  ArtifactoryArtifact: (keys) => artifact({ artifactory: keys }),
  HTTPArtifact: (keys) => artifact({ http: keys }),
  HTTPAuth: (keys) => artifact({ http: { auth: keys } }),
  BasicAuth: (keys) => artifact({ http: { auth: { basicAuth: keys } } }),
  ClientCertAuth: (keys) => artifact({ http: { auth: { clientCert: keys } } }),
  OAuth2Auth: (keys) => artifact({ http: { auth: { oauth2: keys } } }),
  Header: (keys) => artifact({ http: { headers: [keys] } }),
  OAuth2EndpointParam: (keys) =>
    artifact({ http: { auth: { oauth2: { endpointParams: [keys] } } } }),
  GitArtifact: (keys) => artifact({ git: keys }),
  SecretKeySelector: (keys) => artifact({ s3: { accessKeySecret: keys } }),
  WorkflowLevelArtifactGC: (keys) => workflow({ artifactGC: keys }),
  ArtifactGC: (keys) => artifact({ artifactGC: keys }),
  ArtifactRepositoryRef: (keys) => workflow({ artifactRepositoryRef: keys }),
  ArchiveStrategy: (keys) => artifact({ archive: keys }),
  TarStrategy: (keys) => artifact({ archive: { tar: keys } }),
  Container: (keys) => template({ container: keys }),
  ScriptTemplate: (keys) => template({ script: keys }),
  EnvVar: variable,
  EnvVarSource: (keys) => variable({ valueFrom: keys }),
  ResourceRequirements: (keys) => template({ container: { resources: keys } }),
  ConfigMapKeySelector: (keys) => parameter({ valueFrom: { configMapKeyRef: keys } }),
  WorkflowStep: step,
  DAGTask: (keys) => template({ dag: { tasks: [{ name: "a", ...keys }] } }),
  DAGTemplate: (keys) => template({ dag: keys }),
  TemplateRef: (keys) => step({ templateRef: keys }),
  ContinueOn: (keys) => step({ continueOn: keys }),
  Sequence: (keys) => step({ withSequence: keys }),
  LifecycleHook: (keys) => workflow({ hooks: { exit: keys } }),
  RetryStrategy: (keys) => template({ retryStrategy: keys }),
  Backoff: (keys) => template({ retryStrategy: { backoff: keys } }),
  Synchronization: (keys) => workflow({ synchronization: keys }),
  Mutex: (keys) => workflow({ synchronization: { mutexes: [keys] } }),
  SemaphoreRef: (keys) => workflow({ synchronization: { semaphores: [keys] } }),
  Memoize: (keys) => template({ memoize: keys }),
  Cache: (keys) => template({ memoize: { cache: keys } }),
  SuspendTemplate: (keys) => template({ suspend: keys }),
  Metadata: (keys) => template({ metadata: keys }),
  ConfigMap: (keys) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, ...keys }),
  Wasm: (keys) => template({ wasm: keys }),
  WasmLimits: (keys) => template({ wasm: { limits: keys } }),
};

/** What the reader says of a key: whether it is refused or idle, and never both or unknown. */
function stateOf(type: string, key: string): State | "unknown" {
  const holder = holders[type];
  assert(holder, `no document holds a ${type}`);
  const { problems, warnings } = readBundle([
    { file: "w.json", text: JSON.stringify(holder({ [key]: "a" })) },
  ]);
  const says = (list: typeof problems, begin: string): boolean =>
    list.some(({ message, place }) => message.startsWith(`${begin} "${key}"`) && place);
  if (says(problems, "Unknown key")) return "unknown";
  if (
    problems.some(
      ({ code, message }) =>
        code === "workflow-unsupported" && message.includes(`"${key}" is not supported`),
    )
  )
    return "refused";
  const idle = warnings.some(({ message }) =>
    message.startsWith(`The key "${key}" has no effect here:`),
  );
  return idle ? "idle" : "offered";
}

describe("every key of Argo is offered, refused, or said to have no effect", () => {
  for (const list of [argo, others]) {
    for (const [type, states] of Object.entries(list)) {
      test(`the keys of ${type}${list === others ? " that Argo 4.1 does not have" : ""}`, () => {
        for (const state of ["offered", "idle", "refused"] as const) {
          for (const key of (states[state] ?? "").split(/\s+/).filter((word) => word !== "")) {
            assert.equal(stateOf(type, key), state, `${type}.${key}`);
          }
        }
      });
    }
  }

  for (const type of Object.keys(holders)) {
    test(`a key that ${type} does not have is unknown`, () => {
      assert.equal(stateOf(type, "nonesuch"), "unknown");
    });
  }
});
