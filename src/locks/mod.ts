/** Locks between processes that end with the process that holds them. */
export { LockFile } from "./lock-file.ts";
