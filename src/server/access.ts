import { Failure } from "../errors/mod.ts";
import type { Access } from "./mod.ts";

const loopback = new Set(["127.0.0.1", "::1", "localhost"]);

/** On loopback everybody of this machine may do everything. Throws when it would be so for others. */
export function openAccess({ host }: { readonly host: string }): Access {
  if (loopback.has(host)) return { check: () => ({ name: "local" }) };
  throw new Failure(
    "invalid-argument",
    `"${host}" can be reached by others, and nothing says who they are`,
    {
      hint: "Give tokens (--tokens FILE), or listen on 127.0.0.1.",
    },
  );
}
