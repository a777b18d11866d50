import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ownerAmong } from "../../src/kubernetes/mod.ts";

describe("work among replicas", () => {
  const work = Array.from({ length: 3000 }, (_, index) => `uid-${index}`);

  test("is shared evenly, and nobody does it when nobody lives", () => {
    const living = ["a", "b", "c"];
    for (const one of living) {
      const share = work.filter((uid) => ownerAmong(living, uid) === one).length;
      assert(share > 850 && share < 1150, `${one} has ${share}`);
    }
    assert.equal(ownerAmong([], "uid"), undefined);
  });

  test("stays where it is when another comes or goes", () => {
    for (const uid of work) {
      const before = ownerAmong(["a", "b", "c"], uid);
      const after = ownerAmong(["c", "a"], uid);
      if (before !== "b") assert.equal(after, before);
    }
  });
});
