import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, test } from "node:test";
import { encode, splitOptions } from "./encode.ts";

/** A value of JSON by chance, from a seed that is printed when it fails. */
function drawer(seed: number): () => unknown {
  let state = seed;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const text = (): string =>
    Array.from({ length: next(12) }, () => {
      const kinds = [
        () => next(128),
        () => next(0x800),
        () => 0x2028 + next(2),
        () => 0xd800 + next(0x800),
      ];
      return String.fromCharCode(kinds[next(kinds.length)]?.() ?? 65);
    }).join("");
  const value = (depth: number): unknown => {
    switch (next(depth > 3 ? 5 : 7)) {
      case 0:
        return null;
      case 1:
        return next(2) === 1;
      case 2:
        return next(2 ** 31) / (1 + next(1000));
      case 3:
      case 4:
        return text();
      case 5:
        return Array.from({ length: next(4) }, () => value(depth + 1));
      default:
        return Object.fromEntries(
          Array.from({ length: next(4) }, () => [`k${text()}`, value(depth + 1)]),
        );
    }
  };
  return () => value(0);
}

describe("arguments on their way", () => {
  test("are what they were, in a body and in a header, whatever stands in them", () => {
    const seed = randomInt(2 ** 31);
    const draw = drawer(seed);
    for (let round = 0; round < 2000; round++) {
      const given = [draw(), draw(), draw()];
      const expected: unknown = JSON.parse(JSON.stringify(given));
      const plain = encode(given);
      assert.deepEqual(
        JSON.parse(typeof plain.body === "string" ? plain.body : ""),
        expected,
        `seed ${seed}`,
      );
      const at = round % 4;
      const bytes = Uint8Array.from({ length: round % 300 }, (_, index) => index % 256);
      const mixed = encode([...given.slice(0, at), bytes, ...given.slice(at)]);
      const header = mixed.headers["atalanta-arguments"] ?? "";
      // What a header may hold (RFC 9110, section 5.5), and what `fetch` takes.
      assert.match(header, /^[\t\x20-\x7e]*$/, `seed ${seed}`);
      const words = JSON.parse(header) as unknown[];
      assert.equal(words[at], null);
      assert.deepEqual(words.toSpliced(at, 1), expected, `seed ${seed}`);
      assert.deepEqual(mixed.body, bytes);
    }
  });

  test("of bytes are a copy: whoever changes them later changes nothing", () => {
    const bytes = new Uint8Array([1, 2, 3]);
    const { body } = encode([bytes]);
    bytes.fill(9);
    assert.deepEqual(body, new Uint8Array([1, 2, 3]));
  });

  test("in pieces can be sent once, all others again", () => {
    for (const value of [new Uint8Array(1), new ArrayBuffer(1), new Blob(["x"])])
      assert.equal(encode([value]).once, false);
    assert.equal(encode([new ReadableStream()]).once, true);
    assert.equal(encode([(async function* () {})()]).once, true);
  });

  test("have bytes once at most", () => {
    assert.throws(() => encode([new Uint8Array(1), new Blob(["x"])]), TypeError);
  });

  test("are told from options by these names alone", () => {
    const signal = AbortSignal.timeout(1000);
    assert.deepEqual(splitOptions([1, { signal }]), { given: [1], options: { signal } });
    assert.deepEqual(splitOptions([{ timeoutMs: 5, idempotencyKey: "k" }]), {
      given: [],
      options: { timeoutMs: 5, idempotencyKey: "k" },
    });
    for (const own of [{}, { width: 1 }, { signal, width: 1 }, [1], null, "signal", new Map()]) {
      assert.deepEqual(splitOptions([own]), { given: [own], options: {} });
    }
  });
});
