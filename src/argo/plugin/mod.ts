/** Argo's executor plugin protocol: for controllers that make agent pods, where we are a container beside Argo's own agent. */
export { createPluginServer } from "./server.ts";
