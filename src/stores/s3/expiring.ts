import { word } from "./identities.ts";
import type { Identity } from "./signature.ts";

/** Credentials with the time at which they end. */
export interface Expiring {
  readonly identity: Identity;
  /** Absent: never. */
  readonly untilMs?: number;
}

/** Credentials as a service gives them, with a date. */
export function expiring(identity: Identity, until: unknown, from: string): Expiring {
  const untilMs = typeof until === "string" ? Date.parse(until) : Number.NaN;
  return {
    identity: checked(identity, from),
    ...(Number.isFinite(untilMs) ? { untilMs } : {}),
  };
}

/** Credentials whose words can be sent. Throws `secret-invalid`. */
export function checked({ accessKey, secretKey, sessionToken }: Identity, from: string): Identity {
  return {
    accessKey: word(accessKey, `access key of ${from}`),
    secretKey: word(secretKey, `secret key of ${from}`),
    sessionToken:
      sessionToken === undefined ? undefined : word(sessionToken, `session token of ${from}`),
  };
}
