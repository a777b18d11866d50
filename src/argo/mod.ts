/** Steps of Argo Workflows on a cluster. Argo itself knows nothing of Wasm: it hands out templates, and takes results. */
export type { NodeResult, Step, StepExecutor, Template } from "./model.ts";
export {
  createWasmSteps,
  type NamespaceReader,
  type WasmSteps,
  type WasmStepsOptions,
} from "./steps/mod.ts";
export { createAgent, StepEvents, type Agent, type AgentObserver } from "./agent/mod.ts";
export { createCollector, releaseWorkflows } from "./collect/mod.ts";
export { clusterReader } from "./steps/cluster-reader.ts";
export { rewriteObject, rewriteText } from "./rewrite/mod.ts";
export { diagnose, type Finding } from "./doctor/mod.ts";
export { createHttpSteps } from "./http/mod.ts";
export { createForeignSteps, type ForeignPlugin } from "./foreign/mod.ts";
export { createPluginServer } from "./plugin/mod.ts";
export { allowWasmKey, createWebhook, forgetWasmKey } from "./webhook/mod.ts";
export { StepTraces } from "./tracing.ts";
