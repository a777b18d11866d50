import { Failure, type Code, type FailureOptions } from "../errors/mod.ts";

interface TroubleOptions extends FailureOptions {
  /** The same request may go again after this time; without it a retry does not help, or not soon. */
  readonly againMs?: number;
}

/** What went wrong between a registry and us. */
export class Trouble extends Failure {
  readonly againMs: number | undefined;

  constructor(code: Code, message: string, options: TroubleOptions = {}) {
    super(code, message, options);
    this.againMs = options.againMs;
  }
}

/** What an unwanted answer says, as far as it is for people. */
interface Told {
  readonly status: number;
  readonly contentType: string;
  /** The beginning of the body. */
  readonly text: string;
}

const toldLength = 300;

/** An error answer in words: `404 (MANIFEST_UNKNOWN: manifest unknown)`. What is secret is taken out of them before they are shortened. */
export function told({ status, contentType, text }: Told, clean: (text: string) => string): string {
  const detail = errorsOf(text) ?? (/html/i.test(contentType) ? "a page of HTML" : "");
  return detail === "" ? String(status) : `${status} (${shortened(clean(detail))})`;
}

/** The codes of an error answer (distribution-spec, "Error Codes"). */
export function errorCodes(text: string): readonly string[] {
  return parseErrors(text).map(({ code }) => code);
}

function errorsOf(text: string): string | undefined {
  const errors = parseErrors(text).slice(0, 3);
  if (errors.length > 0)
    return errors
      .map(({ code, message }) => (message === "" ? code : `${code}: ${message}`))
      .join("; ");
  const parsed = parseObject(text);
  // Token services answer in many ways.
  for (const key of ["error_description", "details", "message", "error"]) {
    const value = parsed?.[key];
    if (typeof value === "string" && value !== "") return value;
  }
  return undefined;
}

function parseErrors(text: string): readonly { readonly code: string; readonly message: string }[] {
  const errors = parseObject(text)?.["errors"];
  if (!Array.isArray(errors)) return [];
  return errors.slice(0, 10).flatMap((error: unknown) => {
    const { code, message } = asObject(error) ?? {};
    if (typeof code !== "string") return [];
    return [{ code, message: typeof message === "string" ? message : "" }];
  });
}

/** An object of JSON, or undefined for anything else. */
export function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return asObject(JSON.parse(text));
  } catch {
    return undefined;
  }
}

export function asObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return Object.fromEntries(Object.entries(value));
}

/** A text of a stranger's on one line, without what steers a terminal. */
export function shortened(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
  return line.length > toldLength ? `${line.slice(0, toldLength)}…` : line;
}
