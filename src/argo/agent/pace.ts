/** How long results wait for each other at least and at most, in milliseconds. */
const shortestMs = 8;
const longestMs = 250;
/** Of the newest write in what is known of how long they take. */
const newestShare = 0.3;

/**
 * How long results of one task set wait for others that are about to come. A server writes many of them in the time of one, so it is asked the
 * less often the longer it takes: about a third of the time is its own.
 */
export class Pace {
  #writeMs = 0;

  get gatherMs(): number {
    return Math.min(longestMs, Math.max(shortestMs, this.#writeMs * 2));
  }

  /** A write took so long. */
  took(writeMs: number): void {
    this.#writeMs += (writeMs - this.#writeMs) * newestShare;
  }
}
