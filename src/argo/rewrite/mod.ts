/** What people write (`wasm:`, or a container with an annotation) as what reaches a cluster: `plugin: {wasm: …}`. */
export { rewriteObject } from "./object.ts";
export { rewriteText } from "./rewrite.ts";
