/** Artifact GC of modules' outputs: Argo deletes those of pods alone. */
export { createCollector, releaseWorkflows } from "./collector.ts";
