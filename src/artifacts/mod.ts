/** Artifacts between steps, in a content-addressed folder. */
export { openArtifactStore, type ArtifactStore, type StoredArtifact } from "./store.ts";
