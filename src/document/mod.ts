/** Argo's YAML: read, check with places, and hand on as plain data that can be kept in a journal. */
import type { Failure, Place } from "../errors/mod.ts";
import type { Workflow, WorkflowTemplate } from "./model.ts";

export type * from "./model.ts";
export { parameterBytes, parseParameterFile } from "./parameters.ts";
export { isPlaced, locationKinds, parseRepository, type SecretCheck } from "./locations.ts";
export { closest } from "./suggest.ts";
export { workflowSchema } from "./schema.ts";
export { containerOnly, runtimeAnnotation, scriptPath } from "./rewrite.ts";
export { readStep, type StepReading, type StepTemplate } from "./step.ts";
export { checkFiles, readBundle, type ReadOptions, type SourceFile } from "./read.ts";

/**
 * One workflow with all that it refers to: plain data, complete in itself. What `templateDefaults` and `workflowTemplateRef` add is
 * already merged in; `container:`/`script:` templates whose annotation says "run as Wasm", and `plugin.wasm`, have become `wasm`.
 */
export interface Bundle {
  readonly workflow: Workflow;
  /** By `WorkflowTemplate/NAME` and `ClusterWorkflowTemplate/NAME`. */
  readonly library: Readonly<Record<string, WorkflowTemplate>>;
  /** Data of the ConfigMaps in the files given, by name. */
  readonly configMaps: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /**
   * Where each template stands in the text: by its name, `NAME/TEMPLATE` for one of a library, `.../STEP` added for an inline one. For messages
   * about a run that is looked at long after the files have changed.
   */
  readonly places: Readonly<Record<string, Place>>;
  /** Folder that `wasm.module` paths are relative to. */
  readonly folder: string;
}

export interface Reading {
  /** Absent when there are problems. */
  readonly bundle?: Bundle;
  /** Every mistake of every file, in the order of the text. */
  readonly problems: readonly Failure[];
  /** Keys that are understood and change nothing on one machine (`podGC`, `nodeSelector` …), each with its place. */
  readonly warnings: readonly Failure[];
}
