/** Where artifacts lie outside, as workflows and operators say it; and what the stores need to go there. */
export {
  endpointOf,
  isComplete,
  joinKey,
  keyOf,
  logArtifact,
  objectName,
  placeIn,
  secretsOf,
  withKey,
} from "./keys.ts";
export { locate, secretTrouble, type LocateOptions } from "./locate.ts";
export type { Place, SecretName } from "./model.ts";
