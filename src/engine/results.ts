import { Failure } from "../errors/mod.ts";
import { limitFailure } from "../limits/mod.ts";
import type { GuestOutcome } from "./guest.ts";
import type { Invocation, Result, Usage } from "./mod.ts";

/** What a guest that came to its end on a thread has left. */
export function resultOf(outcome: GuestOutcome): Result {
  const { end, instantiateMs, runMs, cpuMs, memoryBytes, ...files } = outcome;
  const { filesCreated, filesBytesWritten, ...rest } = files;
  const usage = { instantiateMs, runMs, cpuMs, memoryBytes, filesCreated, filesBytesWritten };
  return { ...rest, ...end, usage };
}

/** The result of a guest that was ended from outside, or never began. */
export function endedBy(kind: "stopped" | "failed", failure: Failure, usage: Usage = none): Result {
  const nothing = { stdout: new Uint8Array(0), stderr: new Uint8Array(0), collected: [] };
  return { ...nothing, usage, limitsReached: [], kind, failure: failure.toJSON() };
}

const none: Usage = {
  instantiateMs: 0,
  runMs: 0,
  cpuMs: 0,
  memoryBytes: 0,
  filesCreated: 0,
  filesBytesWritten: 0,
};

export function aborted(): Failure {
  return new Failure("aborted", "The guest was stopped by its caller");
}

export function lostThread(): Failure {
  return new Failure("runner-lost", "The thread on which the guest waited had to be ended", {
    hint: "Another guest on it could not be stopped; run the step again.",
  });
}

/** Why an invocation cannot begin. */
export function refused(invocation: Invocation): Failure | undefined {
  const { limits, environment } = invocation;
  let size = 0;
  for (const text of invocation.arguments) size += Buffer.byteLength(text) + 1;
  for (const [name, value] of environment)
    size += Buffer.byteLength(name) + Buffer.byteLength(value) + 2;
  const texts = [...invocation.arguments, ...[...environment].flat()];
  if (texts.some((text) => text.includes("\0"))) {
    return new Failure("invalid-argument", "An argument or variable contains a zero byte", {
      hint: "Hand binary data over as an artifact or on stdin.",
    });
  }
  if (size <= limits.argumentBytes) return undefined;
  return limitFailure(
    "arguments",
    limits,
    `Arguments and environment have ${size} bytes`,
    "Hand large data over as an artifact or on stdin.",
  );
}
