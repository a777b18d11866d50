/** The `wasm:` key for every tool: an admission webhook that rewrites it on the way into the cluster, with certificates of its own. */
export { allowWasmKey, forgetWasmKey } from "./definitions.ts";
export { createWebhook } from "./webhook.ts";
