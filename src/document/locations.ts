import type { Failure } from "../errors/mod.ts";
import type { Endpoint } from "../network/mod.ts";
import { endpointOf, isComplete, type SecretName } from "../places/mod.ts";
import type { Artifact, ArtifactLocation, Repository, Template, WorkflowSpec } from "./model.ts";
import { build, checkShape, Origins } from "./shape.ts";
import { Report, type Spot } from "./source.ts";
import { artifactRepository } from "./stores.ts";
import { spotIn, type Tree } from "./tree.ts";
import { readYaml } from "./yaml.ts";

/** Where artifacts come from outside, in Argo's order. */
export const locationKinds = [
  "artifactory",
  "azure",
  "git",
  "gcs",
  "http",
  "oss",
  "raw",
  "s3",
] as const;

/**
 * Says what is wrong with a secret that a workflow would use at an endpoint; undefined when it may. What is filled in as the workflow
 * runs is looked at then.
 */
export type SecretCheck = (
  secret: SecretName,
  endpoint: Endpoint,
) => Pick<Failure, "code" | "message" | "hint"> | undefined;

/** Whether it names a store, or a key of one. */
export function isPlaced(location: ArtifactLocation): boolean {
  return locationKinds.some((kind) => location[kind] !== undefined);
}

interface Checking {
  readonly report: Report;
  readonly origins: Origins;
  readonly secrets: SecretCheck | undefined;
}

/** Looks at the places of a template's artifacts and of those that its steps hand on. */
export function checkTemplatePlaces(template: Omit<Template, "name">, checking: Checking): void {
  for (const artifact of template.inputs?.artifacts ?? []) checkPlace(artifact, checking);
  for (const artifact of template.outputs?.artifacts ?? []) {
    checkPlace(artifact, checking);
    for (const kind of ["git", "raw"] as const) {
      const value = artifact[kind];
      if (!value) continue;
      checking.report.problem(
        checking.origins.part(artifact, kind) ?? checking.origins.spot(artifact),
        `The output "${artifact.name}" has ${kind}, which is only read`,
        "Name a store that can be written to: s3, gcs, azure, oss, artifactory or http.",
      );
    }
  }
  for (const step of [...(template.steps ?? []).flat(), ...(template.dag?.tasks ?? [])]) {
    for (const artifact of step.arguments?.artifacts ?? []) checkPlace(artifact, checking);
  }
  if (template.archiveLocation) {
    checkPlace({ name: "archiveLocation", ...template.archiveLocation }, checking, {
      at: template.archiveLocation,
    });
  }
}

/** The same of the workflow's arguments. */
export function checkWorkflowPlaces(spec: WorkflowSpec, checking: Checking): void {
  for (const artifact of spec.arguments?.artifacts ?? []) checkPlace(artifact, checking);
}

function checkPlace(
  artifact: Artifact,
  { report, origins, secrets }: Checking,
  { at = artifact }: { readonly at?: object } = {},
): void {
  const kinds = locationKinds.filter((kind) => artifact[kind] !== undefined);
  const [kind, second] = kinds;
  if (kind === undefined) return;
  const location = artifact[kind];
  const spot = (key?: string): Spot =>
    (key === undefined ? undefined : location && origins.part(location, key)) ??
    origins.part(at, kind) ??
    origins.spot(at);
  const named = at === artifact ? `The artifact "${artifact.name}"` : "archiveLocation";
  if (second !== undefined) {
    report.problem(origins.spot(at), `${named} has ${kinds.join(" and ")}`, "Keep one of them.");
    return;
  }
  const half = halfSaid(artifact);
  if (half) report.problem(spot(half.said), `${named}: ${half.message}`, half.hint);
  if (emptyKey(artifact)) {
    const key = kind === "azure" ? "blob" : "key";
    report.problem(
      spot(key),
      `${named} has an empty ${key}`,
      "Name an object, or a folder of them.",
    );
  }
  for (const [one, other] of pairs) {
    const has = (key: string): boolean => location !== undefined && Object.hasOwn(location, key);
    if (has(one) !== has(other) && kind !== "artifactory" && kind !== "git") {
      const [there, missing] = has(one) ? [one, other] : [other, one];
      report.problem(spot(there), `${named} has ${there} and no ${missing}`, "Give both.");
    }
  }
  if (kind === "raw" || !isComplete(artifact)) return;
  const endpoint = endpointOf(artifact);
  if (endpoint === "tags") return;
  if (endpoint === undefined) {
    const key =
      kind === "git" ? "repo" : kind === "http" || kind === "artifactory" ? "url" : "endpoint";
    report.problem(spot(key), `${named}: "${key}" is no place on the network`, placeHint(kind));
    return;
  }
  if (!secrets || !location) return;
  for (const { selector, spot: where } of selectorsOf(origins.tree(location))) {
    const wrong = secrets(selector, endpoint);
    if (wrong) report.problem(where, `${named}: ${wrong.message}`, wrong.hint, wrong.code);
  }
}

/** One that is missing is told with the shape. */
function emptyKey({ s3, gcs, oss, azure }: ArtifactLocation): boolean {
  return (s3 ?? gcs ?? oss)?.key === "" || azure?.blob === "";
}

const pairs = [["accessKeySecret", "secretKeySecret"]] as const;

function placeHint(kind: string): string {
  if (kind === "git") return "Write https://HOST/PATH, ssh://HOST/PATH or USER@HOST:PATH.";
  if (kind === "s3" || kind === "oss") return "Write a host, or host and port, without a scheme.";
  return "Write an http or https URL without a user name.";
}

/** Argo takes everything but the key from the repository when one of these is missing, and says nothing of it. */
function halfSaid({
  s3,
  oss,
  azure,
}: ArtifactLocation):
  | { readonly said: string; readonly message: string; readonly hint: string }
  | undefined {
  const hint = "Give both; or neither, for an object of the workflow's own artifact repository.";
  for (const [one, other, at] of [
    ["endpoint", "bucket", s3],
    ["endpoint", "bucket", oss],
  ] as const) {
    if (!at || (at[one] === undefined) === (at[other] === undefined)) continue;
    const [said, missing] = at[one] === undefined ? [other, one] : [one, other];
    return { said, message: `it has ${said} and no ${missing}`, hint };
  }
  if (azure && (azure.endpoint === undefined) !== (azure.container === undefined)) {
    const [said, missing] =
      azure.endpoint === undefined ? ["container", "endpoint"] : ["endpoint", "container"];
    return { said, message: `it has ${said} and no ${missing}`, hint };
  }
  return undefined;
}

/** Each secret that is named below a location, with the place where that is. */
function* selectorsOf(
  tree: Tree | undefined,
): Generator<{ readonly selector: SecretName; readonly spot: Spot }> {
  if (tree?.kind !== "mapping") return;
  for (const [word, { value }] of tree.entries) {
    if (value.kind !== "mapping") continue;
    const name = value.entries.get("name")?.value;
    const key = value.entries.get("key")?.value;
    if (!word.endsWith("Secret")) yield* selectorsOf(value);
    else if (name?.kind === "scalar" && key?.kind === "scalar") {
      if (`${name.text}${key.text}`.includes("{{")) continue;
      yield { selector: { name: name.text, key: key.text }, spot: spotIn(name, 0) };
    }
  }
}

/** Reads an artifact repository in Argo's form: its keys, as the operator or a ConfigMap has them. Throws the first mistake. */
export function parseRepository(text: string, file: string): Repository {
  const report = new Report();
  const [tree] = readYaml(file, text, report);
  if (tree) checkShape(tree, artifactRepository, report, "the artifact repository");
  const [problem] = report.problems([file]);
  if (problem) throw problem;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what `build` makes has the type of its shape
  const written = (build(tree, artifactRepository, new Origins()) ?? {}) as Written;
  const { archiveLogs } = written;
  return { place: located(written), ...(archiveLogs === undefined ? {} : { archiveLogs }) };
}

interface Written extends Pick<Repository, "archiveLogs"> {
  readonly s3?: Omit<NonNullable<ArtifactLocation["s3"]>, "key"> & {
    readonly keyFormat?: string;
    readonly keyPrefix?: string;
  };
  readonly gcs?: Omit<NonNullable<ArtifactLocation["gcs"]>, "key"> & {
    readonly keyFormat?: string;
  };
  readonly oss?: Omit<NonNullable<ArtifactLocation["oss"]>, "key"> & {
    readonly keyFormat?: string;
  };
  readonly azure?: Omit<NonNullable<ArtifactLocation["azure"]>, "blob"> & {
    readonly blobNameFormat?: string;
  };
  readonly artifactory?: Omit<NonNullable<ArtifactLocation["artifactory"]>, "url"> & {
    readonly repoURL?: string;
    readonly keyFormat?: string;
  };
}

const defaultKey = "{{workflow.name}}/{{pod.name}}";

function located(written: Written): Repository["place"] {
  if (written.s3) {
    const { keyFormat, keyPrefix, ...bucket } = written.s3;
    const prefix = keyPrefix === undefined ? "" : `${keyPrefix.replace(/\/+$/, "")}/`;
    return { s3: { ...bucket, key: keyFormat ?? `${prefix}${defaultKey}` } };
  }
  if (written.gcs) {
    const { keyFormat, ...bucket } = written.gcs;
    return { gcs: { ...bucket, key: keyFormat ?? defaultKey } };
  }
  if (written.oss) {
    const { keyFormat, ...bucket } = written.oss;
    return { oss: { ...bucket, key: keyFormat ?? defaultKey } };
  }
  if (written.azure) {
    const { blobNameFormat, ...container } = written.azure;
    return { azure: { ...container, blob: blobNameFormat ?? defaultKey } };
  }
  if (written.artifactory) {
    const { keyFormat, repoURL = "", ...login } = written.artifactory;
    return {
      artifactory: { ...login, url: `${repoURL.replace(/\/*$/, "/")}${keyFormat ?? defaultKey}` },
    };
  }
  return {};
}
