import { Failure } from "../../errors/mod.ts";
import type { Access, ApiRequest, Principal, Scope } from "../mod.ts";
import { allows } from "./grants.ts";
import { RateLimits, type RateLimitOptions } from "./limits.ts";
import type { Oidc } from "./oidc.ts";
import type { Tokens } from "./tokens.ts";

const loopback = new Set(["127.0.0.1", "::1", "localhost"]);

export interface AccessOptions {
  /** Where the server listens: on loopback nobody needs a token unless tokens are given. */
  readonly host: string;
  readonly tokens?: Tokens;
  readonly oidc?: Oidc;
  readonly limits?: RateLimitOptions;
}

/**
 * Who may do what. Without tokens everybody who reaches the server may do everything, so it must be on loopback then. Throws `invalid-argument` when it
 * would not be.
 */
export function openAccess(options: AccessOptions): Access {
  const { host, tokens, oidc } = options;
  const limits = options.limits && new RateLimits(options.limits);
  if (!tokens && !oidc) {
    if (!loopback.has(host)) {
      throw new Failure(
        "invalid-argument",
        `"${host}" can be reached by others, and nothing says who they are`,
        {
          hint: "Give tokens (--tokens FILE) or an OIDC issuer (--oidc-issuer URL), or listen on 127.0.0.1.",
        },
      );
    }
    return {
      check(_request, { namespace }) {
        limits?.take("local", namespace);
        return local;
      },
    };
  }
  return {
    check(request, need) {
      const token = bearerOf(request);
      const known = tokens?.find(token);
      if (known) return checked(known.principal, known.grants, need, limits);
      if (!oidc || !token.includes(".")) throw unknown();
      return oidc
        .verify(token)
        .then(({ principal, grants }) => checked(principal, grants, need, limits));
    },
  };
}

const local: Principal = { name: "local" };

function checked(
  principal: Principal,
  grants: readonly string[],
  need: { readonly namespace: string; readonly scope: Scope },
  limits: RateLimits | undefined,
): Principal {
  if (!allows(grants, need)) {
    throw new Failure(
      "forbidden",
      `"${principal.name}" may not ${need.scope} in the namespace "${need.namespace}"`,
      { hint: `Its token needs the scope ${need.namespace}:${need.scope}.` },
    );
  }
  limits?.take(principal.name, need.namespace);
  return principal;
}

function bearerOf({ header }: Pick<ApiRequest, "header">): string {
  const token = /^Bearer ([A-Za-z0-9._~+/=-]{1,16384})$/i.exec(header("authorization") ?? "")?.[1];
  if (token !== undefined) return token;
  throw new Failure("unauthenticated", "The request has no bearer token", {
    hint: "Send Authorization: Bearer TOKEN (ATALANTA_TOKEN or --token-file for commands).",
  });
}

function unknown(): Failure {
  return new Failure("unauthenticated", "The token is not known, or its time is over", {
    hint: "Ask whoever runs the server for one (atalanta token).",
  });
}
