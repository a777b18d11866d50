import { Failure, type Code, type FailureOptions } from "../errors/mod.ts";

interface TroubleOptions extends FailureOptions {
  /** The same request may go again after this time; without it a retry does not help, or not soon. */
  readonly againMs?: number;
  /** What a store calls it (`NoSuchKey`). */
  readonly reason?: string;
}

/** What went wrong between a store and us. */
export class Trouble extends Failure {
  readonly againMs: number | undefined;
  readonly reason: string | undefined;

  constructor(code: Code, message: string, options: TroubleOptions = {}) {
    super(code, message, options);
    this.againMs = options.againMs;
    this.reason = options.reason;
  }
}

const toldLength = 300;

/** A text of a stranger's on one line, without what steers a terminal. */
export function shortened(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
  return line.length > toldLength ? `${line.slice(0, toldLength)}…` : line;
}
