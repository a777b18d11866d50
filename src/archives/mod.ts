/** Archives from outside: tar and zip, read as data, and what comes out of them as a tree under names of ours. */
export { safeTarget } from "./links.ts";
export { packTar, packZip, type Packable } from "./pack.ts";
export { readTar, type ArchiveEntry } from "./tar.ts";
export { allowedBytes, ArchiveTree, defaultArchiveLimits, type ArchiveLimits } from "./tree.ts";
export { isTarball, unpack } from "./unpack.ts";
