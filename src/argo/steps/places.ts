import type { Artifact } from "../../document/mod.ts";
import { Failure } from "../../errors/mod.ts";
import {
  isComplete,
  joinKey,
  keyOf,
  logArtifact,
  objectName,
  placeIn,
  withKey,
  type Place,
} from "../../places/mod.ts";
import type { ArtifactSource } from "../../task/mod.ts";
import type { StepTemplate } from "../../document/mod.ts";
import { fillKey, type WorkflowFacts } from "./workflow.ts";

/** Where the artifacts of one step are and go: what they say themselves, the template's archive location, the workflow's repository. */
export class StepPlaces {
  readonly #template: StepTemplate;
  readonly #facts: WorkflowFacts;
  readonly #nodeId: string;

  constructor(template: StepTemplate, facts: WorkflowFacts, nodeId: string) {
    this.#template = template;
    this.#facts = facts;
    this.#nodeId = nodeId;
  }

  /** Where an input comes from; undefined when nobody said and it is optional. */
  source(artifact: Artifact): ArtifactSource | undefined {
    if (artifact.raw) return { kind: "raw", data: artifact.raw.data };
    const place = this.#said(artifact);
    if (place) return { kind: "store", place };
    if (artifact.optional) return undefined;
    throw new Failure(
      "workflow-invalid",
      `The required artifact "${artifact.name}" was not supplied`,
      {
        hint: "Give it as an argument, or make the input optional.",
      },
    );
  }

  /** Where an output goes. */
  output(artifact: Artifact): Place {
    return (
      this.#said(artifact) ?? this.#below(objectName(artifact, artifact.path ?? ""), artifact.name)
    );
  }

  /** Where the log goes. */
  log(): Place {
    return this.#below("main.log", logArtifact);
  }

  /** An artifact's place as a result tells it: of one in the repository the key alone, as Argo has it, when that is sure to be its repository. */
  told(place: Place): Place {
    if (this.#facts.assumed) return place;
    const base = this.#base();
    if (!base || JSON.stringify(withKey(base, "")) !== JSON.stringify(withKey(place, "")))
      return place;
    const key = keyOf(place) ?? "";
    if (place.s3) return { s3: { key } };
    if (place.gcs) return { gcs: { key } };
    if (place.oss) return { oss: { key } };
    if (place.azure) return { azure: { blob: key } };
    return place;
  }

  #said(artifact: Artifact): Place | undefined {
    const said = placeIn(artifact);
    if (!said) return undefined;
    const key = keyOf(said);
    const bucket = said.s3 ?? said.gcs ?? said.oss ?? said.azure;
    if (bucket && key === "") {
      throw new Failure("workflow-invalid", `The key of the artifact "${artifact.name}" is empty`, {
        hint: "Name an object, or a folder of objects.",
      });
    }
    if (isComplete(said)) return said;
    const base = this.#base() ?? nowhere(artifact.name);
    return withKey(base, key ?? "");
  }

  #below(name: string, artifact: string): Place {
    const base = this.#base() ?? nowhere(artifact);
    const key = fillKey(keyOf(base) ?? "", this.#facts, this.#nodeId);
    return withKey(base, joinKey(key, name));
  }

  #base(): Place | undefined {
    const { archiveLocation } = this.#template;
    const own = archiveLocation && placeIn(archiveLocation);
    if (own && isComplete(own)) return own;
    const { place } = this.#facts.repository ?? {};
    return place && isComplete(place) ? place : undefined;
  }
}

function nowhere(name: string): never {
  throw new Failure("workflow-invalid", `The workflow has no artifact repository for "${name}"`, {
    hint: "Set one up for the namespace (the ConfigMap artifact-repositories) or the controller, or give the artifact a whole place: endpoint, bucket and key.",
  });
}
