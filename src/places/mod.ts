/** Where artifacts lie outside, as workflows and operators say it; and what the stores need to go there. */
export {
  archiveKind,
  endpointOf,
  isComplete,
  joinKey,
  keyOf,
  logArtifact,
  objectName,
  packingOf,
  placeIn,
  secretsOf,
  withKey,
} from "./keys.ts";
export { locate, secretTrouble, type LocateOptions } from "./locate.ts";
export type { Place, SecretName } from "./model.ts";
