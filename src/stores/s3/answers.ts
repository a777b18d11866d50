import { retryAfterMs } from "../retries.ts";
import type { Answer } from "../transport.ts";
import { shortened, Trouble } from "../trouble.ts";
import { parseXml, textOf } from "../xml.ts";

/** What S3 says went wrong. */
export interface S3Error {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  /** Where the bucket is, if that is what was wrong. */
  readonly region: string | undefined;
}

/** Reads an answer that is none of success. One to HEAD has no body, and other programs on the way have another. */
export function readError({ status, headers }: Answer, body: string): S3Error {
  const region = headers["x-amz-bucket-region"];
  const told = typeof region === "string" ? region : undefined;
  try {
    const answer = parseXml(body);
    // The service of roles has its errors in an envelope.
    const inside = answer.children.find(({ name }) => name === "Error");
    const root = answer.name === "ErrorResponse" && inside ? inside : answer;
    const code = textOf(root, "Code");
    if (root.name === "Error" && code !== undefined) {
      const message = textOf(root, "Message") ?? "";
      return { status, code, message, region: told ?? textOf(root, "Region") };
    }
  } catch {
    // No XML: the status is what there is.
  }
  return { status, code: byStatus.get(status) ?? "", message: "", region: told };
}

const byStatus: ReadonlyMap<number, string> = new Map([
  [301, "PermanentRedirect"],
  [403, "AccessDenied"],
  [404, "NoSuchKey"],
  [412, "PreconditionFailed"],
  [416, "InvalidRange"],
]);

/** Codes of failures that may pass, besides the statuses that say so. Damage on the way is among them. */
const passing = new Set([
  "BadDigest",
  // The service of roles does not reach whoever vouches for a token.
  "IDPCommunicationError",
  "IncompleteBody",
  "InternalError",
  "OperationAborted",
  "RequestTimeout",
  "ServiceUnavailable",
  "SlowDown",
  "Throttling",
  "XAmzContentSHA256Mismatch",
]);
const passingStatuses = new Set([408, 429, 500, 502, 503, 504]);

const missing = new Set(["NoSuchKey", "NoSuchVersion"]);

const hints: Readonly<Record<string, string>> = {
  NoSuchBucket: "Is the bucket's name right? createBucketIfNotPresent makes it before an upload.",
  AccessDenied:
    "Do these credentials have a right to it? Where they may not list keys, one that is missing is answered in the same way.",
  InvalidAccessKeyId: "Is the access key of this store, and still there?",
  SignatureDoesNotMatch: "Is the secret key right, without a newline at its end?",
  RequestTimeTooSkewed: "Set the clock of this machine.",
  ExpiredToken: "The session token is too old: give a new one.",
  InvalidToken: "Is the session token of this access key?",
  PermanentRedirect: "Name the region or the endpoint of the bucket.",
  AuthorizationHeaderMalformed: "Name the region of the bucket.",
  InvalidObjectState: "The object is in an archive: restore it first.",
  PreconditionFailed: "The object was changed meanwhile.",
  EntityTooLarge: "The store takes no object of that size.",
  QuotaExceeded: "The store is full.",
};

/** An error of S3's as a failure, in its own words but for what is secret. */
export function troubleOf(error: S3Error, answer: Answer, secrets: readonly string[]): Trouble {
  const { status, code } = error;
  const cleaned = secrets
    .filter((secret) => secret.length > 3)
    .reduce((text, secret) => text.replaceAll(secret, "***"), error.message);
  const message = shortened(cleaned);
  const name = /^[\w.-]{1,64}$/.test(code) ? code : "";
  const detail = [name, message].filter((part) => part !== "").join(": ");
  const hint = hints[name];
  const again = passingStatuses.has(status) || passing.has(name);
  const kind = missing.has(name)
    ? "artifact-missing"
    : again
      ? "store-unavailable"
      : "store-refused";
  return new Trouble(kind, `it answered ${status}${detail === "" ? "" : ` (${detail})`}`, {
    reason: name,
    ...(hint === undefined ? {} : { hint }),
    ...(again ? { againMs: retryAfterMs(answer.headers["retry-after"]) } : {}),
  });
}
