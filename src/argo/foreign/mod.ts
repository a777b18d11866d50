/** Plugins of others, whose sidecars never start where the controller makes no agent pods: asked at configured URLs over Argo's executor plugin protocol. */
export { createForeignSteps, type ForeignPlugin } from "./execute.ts";
