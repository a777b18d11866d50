import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Chance, reduced } from "../fuzz/chance.ts";

const main = join(import.meta.dirname, "../fuzz/main.ts");
const folder = mkdtempSync(join(tmpdir(), "fuzz-"));
after(() => rmSync(folder, { recursive: true }));

function fuzz(...args: readonly string[]) {
  const options = { cwd: folder, encoding: "utf8", timeout: 120_000 } as const;
  return spawnSync(process.execPath, ["--no-warnings", main, ...args], options);
}

test("a few seconds of every fuzzer find nothing", () => {
  const { status, stdout, stderr } = fuzz("--minutes", "0.08");
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /^seed \d+\n/);
  for (const [, rounds] of stdout.matchAll(/\w+ (\d+)(?:,| rounds)/g)) assert(Number(rounds) > 0);
});

test("a wrong option is named", () => {
  const { status, stderr } = fuzz("--only", "nothing");
  assert.equal(status, 2);
  assert.match(stderr, /^error: There is no target "nothing"/);
});

test("a seed draws the same again, and what it drew can be played", () => {
  const draw = (chance: Chance): readonly number[] =>
    Array.from({ length: 50 }, (_, index) => chance.below(index + 1));
  const first = new Chance(7);
  const drawn = draw(first);
  assert.deepEqual(draw(new Chance(7)), drawn);
  assert.deepEqual(draw(Chance.replayed(first.draws)), drawn);
});

test("a failing list of draws is made as small as it can be", async () => {
  // Fails when a 3 or more comes before a 70 or more.
  const fails = (draws: readonly number[]): Promise<boolean> => {
    const three = draws.findIndex((draw) => draw >= 3);
    return Promise.resolve(three >= 0 && draws.slice(three + 1).some((draw) => draw >= 70));
  };
  const chance = new Chance(3);
  const draws = Array.from({ length: 200 }, () => chance.below(100));
  const least = await reduced(draws, fails, 2000);
  assert.equal(least.length, 2);
  assert(await fails(least));
});
