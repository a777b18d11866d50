import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, test } from "node:test";
import { createRunners } from "../../src/runner/mod.ts";
import { complaint, runGuest } from "./guest.ts";
import { guests, hello } from "./house.ts";

const whole = process.env["ATALANTA_WHOLE"] === "1";
const steps = whole ? 1000 : 100;
/** Hostile guests of one owner at once. */
const atOnce = 4;

const runners = createRunners({ threads: 2 });
after(() => runners[Symbol.asyncDispose]());

test(`${steps} steps of one owner fail never while another runs the ${whole ? "whole" : "short"} corpus, both in processes of their own`, async (context) => {
  const a = runners.engine({ trust: "process", owner: "a" });
  const b = runners.engine({ trust: "process", owner: "b" });
  await runGuest(b, hello);
  const waiting = [...guests(whole ? "whole" : "short")];
  const wrong: string[] = [];
  let ended = 0;
  const attack = async (): Promise<void> => {
    for (let guest = waiting.shift(); guest; guest = waiting.shift()) {
      // Others of the same owner run beside it and slow it down, so its time is not looked at here.
      // What kills its process takes the others of its owner along, who are told that trying again helps.
      let end = await runGuest(a, guest);
      for (let tries = 0; end.how === "runner-lost" && tries < 3; tries++) end = await runGuest(a, guest);
      const complained = complaint(guest, end);
      if (complained !== undefined) wrong.push(`${guest.name}: ${complained.slice(0, 500)}`);
      ended++;
    }
  };
  const attacks = Promise.all(Array.from({ length: atOnce }, attack));
  const under = { way: true };
  void attacks.finally(() => {
    under.way = false;
  });
  const times: number[] = [];
  let beside = 0;
  // Until both are through: every step counts, and the corpus is run to its end.
  for (let step = 0; step < steps || under.way; step++) {
    const start = performance.now();
    const { how, said, stdout } = await runGuest(b, hello);
    times.push(performance.now() - start);
    assert.deepEqual([how, said, stdout], ["exit 0", "", "hello\n"], `step ${step}`);
    if (under.way) beside++;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await attacks;
  assert.deepEqual(wrong, []);
  times.sort((left, right) => left - right);
  const at = (part: number): string => (times[Math.floor(times.length * part)] ?? 0).toFixed(1);
  context.diagnostic(`${ended} guests, ${beside} of ${times.length} steps beside them: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${(times.at(-1) ?? 0).toFixed(1)} ms`);
  assert.ok(beside >= steps / 2, `only ${beside} steps ran beside the guests`);
}); // prettier-ignore

test("the corpus leaves no process behind", { skip: process.platform !== "linux" && "only Linux lists them by file" }, async () => {
  const pids = runners.processes().map(({ pid }) => pid);
  assert.ok(pids.length >= 2);
  await runners[Symbol.asyncDispose]();
  const left = (): number[] => pids.filter((pid) => readdirSync("/proc").includes(String(pid)));
  for (let tries = 0; left().length > 0 && tries < 100; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.deepEqual(left(), []);
}); // prettier-ignore
