import type { Result } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";

/** The result of a guest of which nothing is known but why. */
export function failed(failure: Failure, kind: "stopped" | "failed" = "failed"): Result {
  return {
    stdout: new Uint8Array(0),
    stderr: new Uint8Array(0),
    collected: [],
    limitsReached: [],
    usage: {
      instantiateMs: 0,
      runMs: 0,
      cpuMs: 0,
      memoryBytes: 0,
      filesCreated: 0,
      filesBytesWritten: 0,
    },
    kind,
    failure: failure.toJSON(),
  };
}

/** The result of a guest whose caller left before it began. */
export function stopped(): Result {
  return failed(new Failure("aborted", "The guest was stopped by its caller"), "stopped");
}
