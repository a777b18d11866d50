import { Failure } from "../../errors/mod.ts";
import type { S3Credentials } from "../mod.ts";
import type { Identity } from "./signature.ts";

/** Says who we are, as often as it is asked. */
export interface Identities {
  /** Undefined: nobody, requests are not signed. */
  get(signal: AbortSignal): Promise<Identity | undefined>;
  /** The store does not accept this one any more. Tells whether another one may be had. */
  forget(identity: Identity): boolean;
  /** Where this machine is. */
  readonly region?: string | undefined;
}

export const anonymous: Identities = {
  // oxlint-disable-next-line typescript/require-await -- others have to wait
  get: async () => undefined,
  forget: () => false,
};

/** Keys of the operator's, for a host. They are read again when they are not accepted any more, because their file may have been replaced. */
export function fromKeys(
  keys: Extract<S3Credentials, { readonly kind: "keys" }>,
  host: string,
): Identities {
  let kept: Promise<Identity> | undefined;
  const read = async (): Promise<Identity> => {
    const [accessKey, secretKey, sessionToken] = await Promise.all([
      keys.accessKey(host),
      keys.secretKey(host),
      keys.sessionToken?.(host),
    ]);
    return {
      accessKey: word(accessKey, "access key"),
      secretKey: word(secretKey, "secret key"),
      sessionToken: sessionToken && word(sessionToken, "session token"),
    };
  };
  return {
    get: () => (kept ??= read()),
    forget: () => {
      kept = undefined;
      return true;
    },
  };
}

/** What a secret holds, without the newline that files have. It becomes part of a header. */
export function word(value: Uint8Array | string, what: string): string {
  const text = (typeof value === "string" ? value : Buffer.from(value).toString()).trim();
  if (text !== "" && /^[\x21-\x7E]+$/.test(text)) return text;
  throw new Failure("secret-invalid", `The ${what} cannot be one`, {
    hint: "Its value is one word of ASCII.",
  });
}
