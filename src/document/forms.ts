import { Failure } from "../errors/mod.ts";
import { parseBytes, parseDurationMs, parseLimit } from "../limits/mod.ts";
import { parseRules } from "../network/mod.ts";
import type { Form } from "./shapes.ts";

export interface Wrong {
  readonly message: string;
  readonly hint?: string;
}

/** What is wrong with a text of this form, if anything. Texts with `{{…}}` are looked at when they are filled in. */
export function wrongForm(form: Form, text: string): Wrong | undefined {
  if (text.includes("{{") && form !== "expression") return undefined;
  const fault = rules[form](text);
  return fault;
}

const rules: Readonly<Record<Form, (text: string) => Wrong | undefined>> = {
  name: (text) =>
    pattern(
      text,
      /^[a-zA-Z0-9][-a-zA-Z0-9_]{0,127}$/,
      "Use letters, digits, - and _, beginning with a letter or digit; at most 128 of them.",
    ),
  "parameter name": (text) => pattern(text, /^[-a-zA-Z0-9_]+$/, "Use letters, digits, - and _."),
  "artifact name": (text) => pattern(text, /^[-a-zA-Z0-9_.]+$/, "Use letters, digits, - and _."),
  "object name": (text) =>
    pattern(
      text,
      /^(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
      "Use small letters, digits, - and ., beginning and ending with a letter or digit; at most 63 of them.",
    ),
  "name prefix": (text) =>
    pattern(
      text,
      /^(?=.{1,58}$)[a-z0-9][-a-z0-9.]*$/,
      "Use small letters, digits, - and ., beginning with a letter or digit; at most 58 of them.",
    ),
  label: (text) =>
    pattern(
      text,
      /^(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
      "Use small letters, digits and -; at most 63 of them.",
    ),
  path(text) {
    if (
      text.startsWith("/") &&
      text !== "/" &&
      !text.split("/").includes("..") &&
      !text.includes("\0")
    ) {
      return undefined;
    }
    return {
      message: `The path "${short(text)}" is not absolute or leads outside`,
      hint: 'Write an absolute path without "..", such as /tmp/doc.',
    };
  },
  "allowed host": (text) => limitRule(() => parseRules([text])),
  duration: (text) => limitRule(() => parseDurationMs(text)),
  "duration with unit"(text) {
    if (/^\d+$/.test(text.trim())) {
      return {
        message: `"${text}" is not a duration with a unit`,
        hint: `Write "${text}s" for seconds.`,
      };
    }
    return limitRule(() => parseDurationMs(text));
  },
  bytes: (text) => limitRule(() => parseBytes(text)),
  "time limit": (text) => limitRule(() => parseLimit("time", text)),
  amount: (text) => limitRule(() => parseLimit("fileCount", text)),
  cpu: (text) => pattern(text, /^\d+(\.\d+)?m?$/, 'Write processors, such as "500m" or 2.'),
  number: (text) => pattern(text, /^-?\d+(\.\d+)?$/, "Write a number."),
  count: (text) => pattern(text, /^\d+$/, "Write a whole number that is not below zero."),
  expression: () => undefined,
  condition: () => undefined,
  depends: () => undefined,
};

function pattern(text: string, expected: RegExp, hint: string): Wrong | undefined {
  if (expected.test(text)) return undefined;
  return { message: text === "" ? "It is empty" : `"${short(text)}" does not fit here`, hint };
}

function limitRule(parse: () => unknown): Wrong | undefined {
  try {
    parse();
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw thrown;
    return { message: thrown.message, ...(thrown.hint === undefined ? {} : { hint: thrown.hint }) };
  }
}

/** A value as a message shows it. */
export function short(text: string): string {
  const flat = text.replaceAll("\n", "⏎");
  return flat.length > 80 ? `${flat.slice(0, 77)}…` : flat;
}
