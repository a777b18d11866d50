/** What a guest sees: its file system, clocks, randomness and standard streams. */
export { capabilitiesMissing, capabilitiesOf, type FoundCapability } from "./capabilities.ts";
export { Collector } from "./collect.ts";
export { http } from "./http.ts";
export type { HttpAnswer, HttpAsk, HttpRefusal, HttpRequest, HttpResponse } from "./http.ts";
export { Exit, preview1 } from "./preview1.ts";
export { Tree } from "./tree.ts";

/** Bytes of a file on the host that the runtime owns (or was given by the user): never named by a guest. */
export type HostBytes =
  | {
      readonly kind: "slice";
      readonly path: string;
      readonly offset: number;
      readonly size: number;
    }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array };

/** One entry of a tree. `path` is relative, `/`-separated, without `.` or `..`; parents may be left out. A directory's may be empty: the tree's own. */
export type TreeEntry =
  | {
      readonly kind: "file";
      readonly path: string;
      readonly mode: number;
      readonly content: HostBytes;
    }
  | { readonly kind: "directory"; readonly path: string; readonly mode: number }
  | { readonly kind: "symlink"; readonly path: string; readonly target: string };

/** What is laid at `path` (absolute) in the guest's tree before it starts. Not read-only means copy on write. */
export interface Mount {
  readonly path: string;
  readonly readOnly: boolean;
  readonly content:
    | { readonly kind: "file"; readonly mode: number; readonly content: HostBytes }
    | { readonly kind: "directory"; readonly entries: readonly TreeEntry[] };
}

/** What lay at a path when the guest ended. Slices of staged files belong to the receiver, which moves or removes them. */
export type Collected =
  | { readonly path: string; readonly kind: "missing" }
  | {
      readonly path: string;
      readonly kind: "file";
      readonly mode: number;
      readonly content: HostBytes;
    }
  | { readonly path: string; readonly kind: "directory"; readonly entries: readonly TreeEntry[] };
