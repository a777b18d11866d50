import { Failure } from "../errors/mod.ts";

/** What `{{name}}` stands for. */
export interface Scope {
  get(name: string): string | undefined;
}

const tag = /\{\{\s*(.*?)\s*\}\}/g;

/** Replaces every `{{name}}` in the strings of a value, however deep. A name that nothing is known for is a failure. */
export function substitute<Value>(value: Value, scope: Scope): Value;
export function substitute(value: unknown, scope: Scope): unknown {
  if (typeof value === "string") {
    if (!value.includes("{{")) return value;
    return value.replace(tag, (_, name: string) => {
      const known = scope.get(name);
      if (known === undefined) {
        throw new Failure("workflow-invalid", `Nothing is known as {{${name}}} here`, {
          hint: "The step that gives it has not run, has failed, or has no such output.",
        });
      }
      return known;
    });
  }
  if (Array.isArray(value)) return value.map((item: unknown) => substitute(item, scope));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, substitute(item, scope)]),
  );
}
