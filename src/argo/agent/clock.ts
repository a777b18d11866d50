import { listOf, recordOf, textOf, type ObjectMeta } from "../../kubernetes/mod.ts";

/** The cluster's clock, as far as its answers tell of it: ours may be hours away, and deadlines are the cluster's. */
export class ClusterClock {
  #offsetMs = 0;

  /** An object that was written just now: the server notes when. */
  wrote(metadata: ObjectMeta): void {
    const times = listOf(recordOf(metadata)["managedFields"])
      .map((entry) => Date.parse(textOf(recordOf(entry)["time"]) ?? ""))
      .filter((time) => !Number.isNaN(time));
    if (times.length > 0) this.#offsetMs = Math.max(...times) - Date.now();
  }

  now(): number {
    return Date.now() + this.#offsetMs;
  }
}
