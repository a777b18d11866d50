// How a body goes wrong on its way; each takes its pieces and gives others.
import { setTimeout as sleep } from "node:timers/promises";

type Body = AsyncIterable<Buffer>;
export type Spoil = (body: Body) => AsyncGenerator<Buffer>;

export const unspoilt: Spoil = async function* (body) {
  yield* body;
};

/** Another bit at one place. */
export function corruptAt(place: number): Spoil {
  return async function* (body) {
    let at = 0;
    for await (const piece of body) {
      const inside = place - at;
      at += piece.length;
      if (inside >= 0 && inside < piece.length) {
        piece.writeUInt8(piece.readUInt8(inside) ^ 1, inside);
      }
      yield piece;
    }
  };
}

/** Only so many bytes; then something is done, and waited for, and the body ends. Nothing is done to a shorter body. */
export function endAfter(most: number, then: () => Promise<void> | void): Spoil {
  return async function* (body) {
    let left = most;
    for await (const piece of body) {
      yield piece.subarray(0, left);
      left -= piece.length;
      if (left > 0) continue;
      await then();
      return;
    }
    if (most === 0) await then();
  };
}

export function slowed(bytesPerSecond: number): Spoil {
  return async function* (body) {
    for await (const piece of body) {
      await sleep((piece.length / bytesPerSecond) * 1000);
      yield piece;
    }
  };
}

/** The first two blocks change their places; or the second comes in place of the first as well. */
export function swapped(blockBytes: number, twice: boolean): Spoil {
  return async function* (body) {
    let held = Buffer.alloc(0);
    const blocks = (): Buffer => {
      const block = Math.min(blockBytes, held.length >> 1);
      const [first, second] = [held.subarray(0, block), held.subarray(block, 2 * block)];
      return Buffer.concat([second, twice ? second : first, held.subarray(2 * block)]);
    };
    let whole = false;
    for await (const piece of body) {
      if (whole) {
        yield piece;
        continue;
      }
      held = Buffer.concat([held, piece]);
      whole = held.length >= 2 * blockBytes;
      if (whole) yield blocks();
    }
    if (!whole) yield blocks();
  };
}
