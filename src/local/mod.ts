/** Runs functions in this process, for `connect("local:")`: the HTTP API without HTTP. */
export { openLocal, type Local } from "./local.ts";
