import { ExpressionFailure } from "./failure.ts";

export type Token =
  | {
      readonly kind: "name" | "number" | "operator" | "bracket" | "end";
      readonly at: number;
      readonly text: string;
    }
  | { readonly kind: "string"; readonly at: number; readonly text: string }
  | {
      readonly kind: "bytes";
      readonly at: number;
      readonly text: string;
      readonly bytes: Uint8Array;
    };

const words = new Set([
  "not",
  "in",
  "or",
  "and",
  "matches",
  "contains",
  "startsWith",
  "endsWith",
  "let",
  "if",
  "else",
]);

const space = /\s+/uy;
const wordPattern = /[\p{L}\p{Nd}_$]+/uy;
const numberPattern =
  /(?:0[xX][0-9a-fA-F_]*|0[oO][0-7_]*|0[bB][01_]*|[0-9_]*(?:\.(?!\.)[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)/uy;
const comment = /\/\/[^\n]*|\/\*[\s\S]*?\*\//uy;
const operatorPattern =
  /\?\.|\?\?|\?|\|\||\||::|:|\.\.|\.|\*\*|&&|[!=<>]=|[&!=*<>]|[,;%+\-^/]|##|#/uy;

/** The tokens of an expression, with one of kind `end` behind the last. */
export function tokenize(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;

  function take(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    return found === undefined || found === "" ? undefined : found;
  }

  while (at < text.length) {
    const skipped = take(space) ?? take(comment);
    if (skipped !== undefined) {
      at += skipped.length;
      continue;
    }
    const token = next();
    tokens.push(token.token);
    at = token.end;
  }
  tokens.push({ kind: "end", at: Math.max(0, text.length - 1), text: "" });
  return tokens;

  function next(): { readonly token: Token; readonly end: number } {
    const character = text.charAt(at);
    if (character === '"' || character === "'") {
      const { value, end } = quoted(text, at, unescape);
      return { token: { kind: "string", at, text: value.join("") }, end };
    }
    if (character === "`") return raw(text, at);
    if ((character === "b" || character === "B") && /["']/u.test(text.charAt(at + 1))) {
      const { value, end } = quoted(text, at + 1, unescapeByte);
      const bytes = Buffer.concat(
        value.map((part) => (typeof part === "number" ? Buffer.of(part) : Buffer.from(part))),
      );
      return { token: { kind: "bytes", at, text: "", bytes: new Uint8Array(bytes) }, end };
    }
    if (/[0-9]/u.test(character) || /^\.[0-9]/u.test(text.slice(at, at + 2))) {
      const number = take(numberPattern) ?? character;
      const end = at + number.length;
      wordPattern.lastIndex = end;
      if (wordPattern.test(text)) {
        throw new ExpressionFailure(
          "syntax",
          `bad number "${text.slice(at, wordPattern.lastIndex)}"`,
          text,
          { offset: at, length: number.length + 1 },
        );
      }
      return { token: { kind: "number", at, text: number }, end };
    }
    if (/[([{)\]}]/u.test(character)) {
      return { token: { kind: "bracket", at, text: character }, end: at + 1 };
    }
    if (text.startsWith("/*", at)) throw bad("unclosed comment", at, 2);
    const operator = take(operatorPattern);
    if (operator !== undefined) {
      return { token: { kind: "operator", at, text: operator }, end: at + operator.length };
    }
    const word = take(wordPattern);
    if (word === undefined) {
      throw bad(`unrecognized character "${String.fromCodePoint(text.codePointAt(at) ?? 0)}"`, at);
    }
    return {
      token: { kind: words.has(word) ? "operator" : "name", at, text: word },
      end: at + word.length,
    };
  }

  function bad(message: string, offset: number, length = 1): ExpressionFailure {
    return new ExpressionFailure("syntax", message, text, { offset, length });
  }
}

type Unescape = (
  text: string,
  at: number,
) => { readonly value: string | number; readonly end: number } | undefined;

function quoted(
  text: string,
  start: number,
  escape: Unescape,
): { readonly value: readonly (string | number)[]; readonly end: number } {
  const quote = text.charAt(start);
  const value: (string | number)[] = [];
  let at = start + 1;
  for (;;) {
    const character = text.charAt(at);
    if (character === quote) return { value, end: at + 1 };
    if (character === "" || character === "\n") {
      throw new ExpressionFailure("syntax", "literal not terminated", text, { offset: start });
    }
    if (character === "\\") {
      const found = escape(text, at);
      if (found === undefined) {
        throw new ExpressionFailure("syntax", "invalid char escape", text, {
          offset: at,
          length: 2,
        });
      }
      value.push(found.value);
      at = found.end;
    } else if (character === "\r") {
      // Newlines are normalized; a lone return is one.
      value.push("\n");
      at += 1;
    } else {
      value.push(character);
      at += 1;
    }
  }
}

function raw(text: string, start: number): { readonly token: Token; readonly end: number } {
  let value = "";
  let at = start + 1;
  for (;;) {
    const close = text.indexOf("`", at);
    if (close === -1) {
      throw new ExpressionFailure("syntax", "literal not terminated", text, { offset: start });
    }
    value += text.slice(at, close);
    if (text.charAt(close + 1) !== "`") {
      return { token: { kind: "string", at: start, text: value }, end: close + 1 };
    }
    value += "`";
    at = close + 2;
  }
}

const simple: ReadonlyMap<string, string> = new Map([
  ["a", "\u0007"],
  ["b", "\b"],
  ["f", "\f"],
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
  ["v", "\v"],
  ["\\", "\\"],
  ["'", "'"],
  ['"', '"'],
]);

const coded =
  /\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([0-3][0-7]{2}))/uy;

function unescape(text: string, at: number): ReturnType<Unescape> {
  const plain = simple.get(text.charAt(at + 1));
  if (plain !== undefined) return { value: plain, end: at + 2 };
  coded.lastIndex = at;
  const found = coded.exec(text);
  if (found === null) return undefined;
  const hex = found[1] ?? found[2] ?? found[3] ?? found[4];
  const point = hex === undefined ? Number.parseInt(found[5] ?? "", 8) : Number.parseInt(hex, 16);
  if (!(point <= 0x10_ff_ff)) return undefined;
  return { value: String.fromCodePoint(point), end: coded.lastIndex };
}

const codedByte = /\\(?:x([0-9a-fA-F]{2})|([0-3][0-7]{2}))/uy;

function unescapeByte(text: string, at: number): ReturnType<Unescape> {
  const plain = simple.get(text.charAt(at + 1));
  if (plain !== undefined) return { value: plain, end: at + 2 };
  codedByte.lastIndex = at;
  const found = codedByte.exec(text);
  if (found === null) return undefined;
  const byte =
    found[1] === undefined ? Number.parseInt(found[2] ?? "", 8) : Number.parseInt(found[1], 16);
  return { value: byte, end: codedByte.lastIndex };
}
