import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { globSync } from "node:fs";
import { basename, join } from "node:path";
import { after, describe, test } from "node:test";
import { built, folder } from "./build.ts";
import { corpus } from "./corpus/mod.ts";
import { guests, House } from "./house.ts";

const form = process.env["ATALANTA_WHOLE"] === "1" ? "whole" : "short";

describe(`a hostile guest ends as it must, in time, and leaves nothing (${form} corpus)`, () => {
  const house = new House();
  after(() => house[Symbol.asyncDispose]());
  for (const guest of guests(form)) {
    test(`${guest.name}, which wants to ${guest.wants}`, () => house.visit(guest));
  }
});

describe("the corpus", () => {
  test("has every guest of its folder, and at least 60 of them", () => {
    const sources = globSync("*.{c,wat}", { cwd: folder }).map((file) => basename(file).split(".")[0]);
    const named = new Set(corpus.map(({ name }) => name));
    assert.deepEqual(sources.filter((name) => name === undefined || !named.has(name)), []);
    assert.ok(corpus.length >= 60);
  }); // prettier-ignore

  test("is what its sources in text give, byte for byte", () => {
    for (const source of globSync("*.wat", { cwd: folder })) {
      const committed = readFileSync(join(folder, source.replace(/wat$/, "wasm")));
      assert.ok(committed.equals(built(source)), `${source} gives other bytes`);
    }
  });
});
