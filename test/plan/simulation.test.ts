import { describe, test } from "node:test";
import { Chance } from "../../fuzz/chance.ts";
import { randomBundle } from "./random-workflow.ts";
import { replay, simulate } from "./simulate.ts";

const seed = Number(process.env["ATALANTA_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const rounds = Number(process.env["ATALANTA_ROUNDS"] ?? 3000);

describe("random workflows in a simulated world", () => {
  test(`${rounds} of them, from seed ${seed}, keep every promise and replay to the same`, (context) => {
    let events = 0;
    for (let round = 0; round < rounds; round += 1) {
      const own = seed + round;
      try {
        const chance = new Chance(own);
        const recorded = simulate(randomBundle(chance), chance);
        replay(recorded);
        events += recorded.events.length;
      } catch (thrown) {
        throw new Error(`ATALANTA_SEED=${own} ATALANTA_ROUNDS=1 shows it again`, { cause: thrown });
      }
    }
    context.diagnostic(`${events} events`);
  });
});
