/** What a value may be. */
export type Shape =
  | { readonly kind: "text"; readonly form?: Form; readonly words?: readonly string[] }
  | { readonly kind: "scalar"; readonly form?: Form }
  | { readonly kind: "flag" }
  | { readonly kind: "whole"; readonly least?: number; readonly most?: number }
  | { readonly kind: "any" }
  | { readonly kind: "list"; readonly of: Shape }
  | { readonly kind: "map"; readonly of: Shape }
  /** A mapping is the one, everything else the other. */
  | { readonly kind: "either"; readonly shapes: readonly [Shape, ObjectShape] }
  /** For shapes that contain themselves. */
  | { readonly kind: "later"; readonly shape: () => ObjectShape }
  | ObjectShape;

export interface ObjectShape {
  readonly kind: "object";
  readonly name: string;
  /** What it is, for editors. */
  readonly says: string;
  readonly keys: ReadonlyMap<string, Key>;
  readonly required: readonly string[];
  /** Required, but `templateDefaults` may give it: looked at when that is merged in. */
  readonly late: readonly string[];
  /** There may be any number of further keys, none of them offered: what to do then. */
  readonly others?: string;
}

/** How a text is written; see `forms.ts`. What holds `{{…}}` is looked at when it is filled in. */
export type Form =
  | "name"
  | "parameter name"
  | "artifact name"
  | "object name"
  | "name prefix"
  | "label"
  | "path"
  | "allowed host"
  | "duration"
  | "duration with unit"
  | "bytes"
  | "time limit"
  | "amount"
  | "cpu"
  | "number"
  | "count"
  | "expression"
  | "condition"
  | "depends";

/** What happens to a key. */
export type Key =
  | {
      readonly state: "offered";
      readonly says: string;
      readonly shape: Shape;
      readonly warning?: string;
    }
  | { readonly state: "idle"; readonly why: string }
  | { readonly state: "refused"; readonly hint: string };

export const scalar: Shape = { kind: "scalar" };
export const flag: Shape = { kind: "flag" };
export const any: Shape = { kind: "any" };

/** A text, of a form or one of several words. */
export function text(what?: Form | readonly string[]): Shape {
  if (what === undefined) return { kind: "text" };
  return typeof what === "string" ? { kind: "text", form: what } : { kind: "text", words: what };
}

export function whole(least?: number, most?: number): Shape {
  return {
    kind: "whole",
    ...(least === undefined ? {} : { least }),
    ...(most === undefined ? {} : { most }),
  };
}

export function list(of: Shape): Shape {
  return { kind: "list", of };
}

export function mapOf(of: Shape): Shape {
  return { kind: "map", of };
}

export function object(
  name: string,
  says: string,
  keys: Readonly<Record<string, Key>>,
  ...required: string[]
): ObjectShape {
  return { kind: "object", name, says, keys: new Map(Object.entries(keys)), required, late: [] };
}

export function offered(says: string, shape: Shape): Key {
  return { state: "offered", says, shape };
}

/** Offered in part: `warning` says what of it has no effect. */
export function allowed(says: string, shape: Shape, warning: string): Key {
  return { state: "offered", says, shape, warning };
}

/** Understood, and without effect here. */
export function idle(why: string): Key {
  return { state: "idle", why };
}

/** It would change what the workflow means, and is not offered. */
export function refused(hint: string): Key {
  return { state: "refused", hint };
}
