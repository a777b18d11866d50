/** Registries of images: names, logins, and what they hold. */
export { openRegistry, type Registry, type RegistryOptions } from "./client.ts";
export { anonymous, firstOf, type Credential, type Credentials } from "./credentials.ts";
export { pullSecretCredentials } from "./auth-file.ts";
export { dockerCredentials, type DockerConfigOptions } from "./docker-config.ts";
export type { BlobDescriptor } from "./download.ts";
export { parseMirror, type RegistrySettings } from "./endpoints.ts";
export type { Descriptor, Manifest } from "./manifest.ts";
export type { BlobToPush, PushedBlob } from "./push.ts";
export {
  formatReference,
  isDigest,
  parseReference,
  parseRegistryName,
  type Reference,
} from "./reference.ts";
export type { CachedImage, Image } from "./image.ts";
export {
  openImages,
  type GetOptions,
  type ImagePolicy,
  type Images,
  type ImagesOptions,
  type PullPolicy,
} from "./images.ts";
export type { Progress } from "./pull.ts";
export { packageModule, type PackageOptions } from "./package.ts";
export type { Packaging } from "./packaging.ts";
export {
  imagePattern,
  imagePolicy,
  verifyImage,
  type Attested,
  type Policy,
  type PolicyRule,
} from "./policy.ts";
export { voucherOf, type Statement, type Voucher } from "./signatures.ts";
export { copyImage, pushImage, type Moved } from "./transfer.ts";
