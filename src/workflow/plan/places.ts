import type { Artifact, ArtifactGc, Template } from "../../document/mod.ts";
import { Failure } from "../../errors/mod.ts";
import {
  isComplete,
  joinKey,
  keyOf,
  objectName,
  placeIn,
  withKey,
  type Place,
} from "../../places/mod.ts";
import type { Copy, OutputStore } from "../../task/mod.ts";
import type { Names } from "./names.ts";
import type { Plan } from "./plan.ts";
import { fill } from "./text.ts";

type Around = Pick<Template, "archiveLocation"> | undefined;

/** Where an artifact says that it lies: a place, or a key of the folder of artifacts; undefined when it says nothing. */
export function placeOf(
  plan: Plan,
  artifact: Artifact,
  around: Around,
  names: Names,
  seed: string,
): { readonly place: Place } | { readonly key: string } | undefined {
  const said = placeIn(artifact);
  if (!said) return undefined;
  if (isComplete(said)) return { place: withWholeKey(artifact, fill(plan, said, names, seed)) };
  const key = fill(plan, keyOf(said) ?? "", names, seed);
  if (key === "") throw noKey(artifact);
  const base = baseOf(plan, around);
  return base ? { place: withKey(storeOf(plan, base, names, seed), key) } : { key };
}

/** Where an output goes, beside the folder of artifacts. */
export function outputStore(
  plan: Plan,
  artifact: Artifact,
  template: Template,
  names: Names,
  seed: string,
): { readonly store?: OutputStore; readonly key?: string } {
  const said = placeOf(plan, artifact, template, names, seed);
  if (said && "key" in said) return said;
  if (said) return { store: { ...said, ...collectOf(plan, said.place, artifact.artifactGC) } };
  const base = baseOf(plan, template);
  if (!base) return {};
  const path = fill(plan, artifact.path ?? "", names, seed);
  const to = below(plan, base, objectName(artifact, path), names, seed);
  return { store: { place: to, ...collectOf(plan, to, artifact.artifactGC) } };
}

/** Where the log of a template's steps goes; undefined when it stays here. */
export function logStore(
  plan: Plan,
  template: Template,
  names: Names,
  seed: string,
): OutputStore | undefined {
  const { repository, bundle } = plan.begin;
  const asked =
    repository?.archiveLogs === true ||
    (template.archiveLocation?.archiveLogs ?? bundle.workflow.spec.archiveLogs ?? false);
  const base = asked ? baseOf(plan, template) : undefined;
  if (!base) return undefined;
  const to = below(plan, base, "main.log", names, seed);
  return { place: to, ...collectOf(plan, to, undefined) };
}

/** Nothing would be the whole bucket. */
function withWholeKey(artifact: Artifact, found: Place): Place {
  const bucket = found.s3 ?? found.gcs ?? found.oss ?? found.azure;
  if (bucket && keyOf(found) === "") throw noKey(artifact);
  return found;
}

function noKey({ name }: Artifact): Failure {
  return new Failure("workflow-invalid", `The key of the artifact "${name}" is empty`, {
    hint: "Name an object, or a folder of objects.",
  });
}

/** The template's own archive location, else the run's repository. */
function baseOf(plan: Plan, around: Around): Place | undefined {
  const own = around?.archiveLocation && placeIn(around.archiveLocation);
  return own && isComplete(own) ? own : plan.begin.repository?.place;
}

/** Without its key, which may have tags that are not known everywhere. */
function storeOf(plan: Plan, base: Place, names: Names, seed: string): Place {
  return fill(plan, withKey(base, ""), names, seed);
}

function below(plan: Plan, base: Place, name: string, names: Names, seed: string): Place {
  const key = fill(plan, keyOf(base) ?? "", names, seed);
  return withKey(storeOf(plan, base, names, seed), joinKey(key, name));
}

/** Web servers and Artifactory are not asked to delete, as by Argo. */
function collectOf(
  plan: Plan,
  { http, artifactory }: Place,
  own: ArtifactGc | undefined,
): Pick<Copy, "collect"> {
  if (http ?? artifactory) return {};
  const { artifactGC } = plan.begin.bundle.workflow.spec;
  const strategy = own?.strategy ?? artifactGC?.strategy ?? "Never";
  return strategy === "Never" ? {} : { collect: strategy };
}
