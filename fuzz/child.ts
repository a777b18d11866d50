// One target's rounds in a process of their own, so that one that dies or hangs is seen by the driver.
import { Chance, reduced } from "./chance.ts";
import { isTarget, loadTarget } from "./targets.ts";

/** What the driver hears. */
export type FromChild =
  | { readonly type: "round"; readonly seed: number }
  | { readonly type: "reducing" }
  | {
      readonly type: "failed";
      readonly seed: number;
      readonly draws: readonly number[];
      readonly error: string;
    };

/** Tries spent on making one failure small, and the longest list of draws for which that is worth while. */
const reducingTries = 2000;

const [name = "", firstSeed = "0"] = process.argv.slice(2);
if (!isTarget(name)) throw new Error(`no target "${name}"`);
const target = await loadTarget(name);
const stop = new AbortController();
const send = (message: FromChild): void => void process.send?.(message);
process.on("disconnect", () => process.exit());
process.on("message", () => stop.abort());
// The driver decides when to stop.
process.on("SIGINT", () => undefined);

async function errorOf(chance: Chance): Promise<string | undefined> {
  try {
    await target.round(chance, stop.signal);
    return undefined;
  } catch (thrown) {
    if (stop.signal.aborted) return undefined;
    return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  }
}

for (let seed = Number(firstSeed); !stop.signal.aborted; seed = (seed + 1) % 2 ** 31) {
  send({ type: "round", seed });
  const chance = new Chance(seed);
  const error = await errorOf(chance);
  // Lets messages of the driver in between rounds that never wait.
  await new Promise((resolve) => void setImmediate(resolve));
  if (error === undefined) continue;
  const fails = async (draws: readonly number[]): Promise<boolean> => {
    send({ type: "reducing" });
    return (await errorOf(Chance.replayed(draws))) !== undefined;
  };
  const draws = await reduced(chance.draws, fails, reducingTries);
  const smallest = (await errorOf(Chance.replayed(draws))) ?? error;
  send({ type: "failed", seed, draws, error: smallest });
  break;
}
await target.close?.();
process.disconnect?.();
