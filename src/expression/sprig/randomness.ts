import { fault } from "../failure.ts";
import { define, type Context, type Function } from "../functions.ts";
import { runes } from "../strings.ts";

const digits = "0123456789";
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const printable = String.fromCharCode(...Array.from({ length: 95 }, (_, index) => index + 32));

/** A whole number of at least 0 and below a limit. */
function below(limit: number, { random }: Context): number {
  return Math.min(limit - 1, Math.floor(random() * limit));
}

function randomText(alphabet: string): Function {
  return define(1, 1, (given, context) => {
    const count = given.whole(0);
    if (count < 0) throw fault(`there is no text of ${count} characters`);
    context.budget.allocate(count);
    context.budget.step(count);
    return Array.from({ length: count }, () =>
      alphabet.charAt(below(alphabet.length, context)),
    ).join("");
  });
}

function randomBytes(count: number, context: Context): Buffer {
  context.budget.allocate(count);
  context.budget.step(count);
  return Buffer.from(Array.from({ length: count }, () => below(256, context)));
}

/** All of it comes from the caller's `random`, so that a replay gives the same; none of it is fit for a secret. */
export const randomness: ReadonlyMap<string, Function> = new Map([
  ["randAlphaNum", randomText(digits + letters)],
  ["randAlpha", randomText(letters)],
  ["randNumeric", randomText(digits)],
  ["randAscii", randomText(printable)],
  [
    "randBytes",
    define(1, 1, (given, context) => {
      const count = given.whole(0);
      if (count < 0) throw fault(`there are no ${count} bytes`);
      return randomBytes(count, context).toString("base64");
    }),
  ],
  [
    "randInt",
    define(2, 2, (given, context) => {
      const [least, limit] = [given.whole(0), given.whole(1)];
      if (limit <= least) throw fault(`there is no number from ${least} and below ${limit}`);
      return BigInt(least) + BigInt(below(limit - least, context));
    }),
  ],
  [
    "uuidv4",
    define(0, 0, (_, context) => {
      const bytes = randomBytes(16, context);
      bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
      bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
      return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/u, "$1-$2-$3-$4-$5");
    }),
  ],
  [
    "shuffle",
    define(1, 1, (given, context) => {
      const characters = runes(given.text(0));
      context.budget.step(characters.length);
      for (let index = characters.length - 1; index > 0; index -= 1) {
        const other = below(index + 1, context);
        const held = characters[index] ?? "";
        characters[index] = characters[other] ?? "";
        characters[other] = held;
      }
      return characters.join("");
    }),
  ],
]);
