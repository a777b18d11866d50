import { Failure } from "../../errors/mod.ts";
import type { Scope } from "../mod.ts";

const scopes: readonly Scope[] = ["call", "deploy", "read", "workflows", "admin"];

/** Throws `invalid-argument` for what is no scope: `NAMESPACE:SCOPE`, with `*` for all namespaces. */
export function checkGrant(text: string): void {
  const [namespace = "", scope = ""] = text.split(":");
  const isNamespace = namespace === "*" || /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(namespace);
  if (isNamespace && text.split(":").length === 2 && scopes.some((known) => known === scope))
    return;
  throw new Failure("invalid-argument", `"${text.slice(0, 100)}" is no scope`, {
    hint: `Write NAMESPACE:SCOPE, where NAMESPACE may be * and SCOPE is one of ${scopes.join(", ")}.`,
  });
}

/** `admin` is everything in its namespace. */
export function allows(
  grants: readonly string[],
  { namespace, scope }: { readonly namespace: string; readonly scope: Scope },
): boolean {
  return grants.some((grant) => {
    const [where, what] = grant.split(":");
    return (where === "*" || where === namespace) && (what === scope || what === "admin");
  });
}
