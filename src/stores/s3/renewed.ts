import { orAborted } from "../../network/mod.ts";
import { Trouble } from "../trouble.ts";
import type { Expiring } from "./expiring.ts";
import type { Identities } from "./identities.ts";

/** New ones are fetched this long before the old ones end. */
const earlyMs = 5 * 60_000;

/** Credentials that end: kept, and found anew before they do, by one search at a time. */
export function renewed(
  find: (signal: AbortSignal) => Promise<Expiring>,
  { mostMs, region }: { readonly mostMs: number; readonly region: string | undefined },
): Identities {
  let good: Expiring | undefined;
  let finding: Promise<Expiring> | undefined;
  const search = async (): Promise<Expiring> => {
    // Of its own: who asked first may give up, and others wait for it as well.
    const signal = AbortSignal.timeout(mostMs);
    try {
      return await find(signal);
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
      throw new Trouble("store-unavailable", `Nobody gave credentials in ${mostMs / 1000} s`);
    }
  };
  return {
    get: async (signal) => {
      if (good && (good.untilMs ?? Infinity) - earlyMs > Date.now()) return good.identity;
      finding ??= search().finally(() => (finding = undefined));
      try {
        good = await orAborted(finding, signal);
      } catch (thrown) {
        signal.throwIfAborted();
        // What ends soon and cannot be had anew is still good.
        if (!good || (good.untilMs ?? Infinity) < Date.now()) throw thrown;
      }
      return good.identity;
    },
    forget: (identity) => {
      // Another request may have got new ones already.
      if (good?.identity === identity) good = undefined;
      return true;
    },
    region,
  };
}
