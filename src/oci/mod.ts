/** Registries of images: names, logins, and what they hold. */
export { anonymous, firstOf, type Credential, type Credentials } from "./credentials.ts";
export type { RegistrySettings } from "./endpoints.ts";
export { formatReference, isDigest, parseReference, type Reference } from "./reference.ts";
export { openRegistry, type Registry, type RegistryOptions } from "./client.ts";
export type { BlobDescriptor } from "./download.ts";
export type { Manifest } from "./manifest.ts";
