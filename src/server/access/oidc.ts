import { createRemoteJWKSet, customFetch, jwtVerify, type JWTPayload } from "jose";
import { Failure } from "../../errors/mod.ts";
import type { Principal } from "../mod.ts";
import { checkGrant } from "./grants.ts";

export interface OidcOptions {
  /** As tokens have it in `iss`; below it lies `.well-known/openid-configuration`. */
  readonly issuer: string;
  readonly audience: string;
  /** The claim with the scopes, as a list or a text with spaces between; default `scope`. Only those of our form count. */
  readonly claim?: string;
}

/** Tokens of an issuer (OpenID Connect Discovery 1.0; RFC 7519). */
export interface Oidc {
  /** Rejects with `unauthenticated`. */
  verify(
    token: string,
  ): Promise<{ readonly principal: Principal; readonly grants: readonly string[] }>;
}

/** Signatures by keys that only the issuer has. Nothing with a shared secret, and never none at all. */
const algorithms = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
const leewaySeconds = 30;
const answerMs = 5000;
const answerBytes = 256 * 1024;
/** A key that is not known is asked for at most so often. */
const cooldownMs = 30_000;

/** Nothing is asked before the first token comes; keys are kept, and asked for anew when one is not known. */
export function openOidc({ issuer, audience, claim = "scope" }: OidcOptions): Oidc {
  const base = URL.parse(issuer);
  if (
    base?.protocol !== "https:" &&
    !(base?.protocol === "http:" && base.hostname === "127.0.0.1")
  ) {
    throw new Failure("invalid-argument", `The issuer "${issuer}" is no https URL`);
  }
  let keys: Promise<ReturnType<typeof createRemoteJWKSet>> | undefined;
  const find = (): Promise<ReturnType<typeof createRemoteJWKSet>> => {
    keys ??= discover(issuer);
    // Whoever fails is asked again.
    keys.catch(() => (keys = undefined));
    return keys;
  };
  return {
    async verify(token) {
      try {
        const { payload } = await jwtVerify(token, await find(), {
          issuer,
          audience,
          algorithms,
          clockTolerance: leewaySeconds,
          requiredClaims: ["exp", "sub"],
        });
        return {
          principal: { name: `oidc:${payload.sub ?? ""}` },
          grants: grantsOf(payload, claim),
        };
      } catch (cause) {
        if (cause instanceof Failure) throw cause;
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new Failure(
          "unauthenticated",
          `The token is not one of ${issuer} for "${audience}": ${reason}`,
          {
            cause,
            hint: "Get a new one; its issuer, audience and time must be right.",
          },
        );
      }
    },
  };
}

async function discover(issuer: string): Promise<ReturnType<typeof createRemoteJWKSet>> {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const said: unknown = await (await small(url, {})).json();
  const field = (name: string): unknown =>
    typeof said === "object" && said !== null ? Reflect.get(said, name) : undefined;
  if (field("issuer") !== issuer)
    throw unwell(url, `it says that it is "${String(field("issuer"))}"`);
  const at = URL.parse(String(field("jwks_uri")));
  if (!at || (at.protocol !== "https:" && at.hostname !== "127.0.0.1"))
    throw unwell(url, "it has no jwks_uri");
  return createRemoteJWKSet(at, {
    timeoutDuration: answerMs,
    cooldownDuration: cooldownMs,
    cacheMaxAge: 10 * 60_000,
    [customFetch]: (where, init) => small(where, init),
  });
}

/** An answer that is neither slow nor large, and no redirect. */
async function small(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, {
      ...init,
      redirect: "error",
      signal: AbortSignal.timeout(answerMs),
    });
  } catch (cause) {
    const why =
      cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
    throw unwell(url, why);
  }
  if (!response.ok) throw unwell(url, `it answered ${response.status}`);
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of response.body ?? []) {
    size += piece.length;
    if (size > answerBytes) throw unwell(url, `its answer has more than ${answerBytes} bytes`);
    pieces.push(piece);
  }
  return new Response(Buffer.concat(pieces), {
    status: response.status,
    headers: response.headers,
  });
}

function unwell(url: string, why: string): Failure {
  return new Failure("unauthenticated", `The issuer of tokens cannot be asked (${url}): ${why}`, {
    hint: "Tokens of a file still work; look at the issuer.",
  });
}

function grantsOf(payload: JWTPayload, claim: string): readonly string[] {
  const said = payload[claim];
  const words: readonly unknown[] =
    typeof said === "string" ? said.split(" ") : Array.isArray(said) ? said : [];
  return words.map(String).filter((word) => {
    try {
      checkGrant(word);
      return true;
    } catch {
      return false;
    }
  });
}
