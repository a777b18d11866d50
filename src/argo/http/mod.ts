/** `http:` templates, which nobody else executes where the controller makes no agent pods. */
export { createHttpSteps } from "./execute.ts";
