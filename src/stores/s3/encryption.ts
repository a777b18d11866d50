import { argon2, createHash } from "node:crypto";
import { promisify } from "node:util";
import { Failure } from "../../errors/mod.ts";
import type { Bucket } from "./bucket.ts";

type Headers = Readonly<Record<string, string>>;

const derive = promisify(argon2);
const prefix = "x-amz-server-side-encryption";

/** Headers that make a new object one that the store encrypts. */
export async function writeHeaders(bucket: Bucket, key: string): Promise<Headers> {
  const { encryption } = bucket.location;
  if (encryption?.kind === "s3") return { [prefix]: "AES256" };
  if (encryption?.kind !== "kms") return readHeaders(bucket, key);
  return {
    [prefix]: "aws:kms",
    [`${prefix}-aws-kms-key-id`]: encryption.keyId,
    ...(encryption.context === undefined
      ? {}
      : { [`${prefix}-context`]: Buffer.from(compact(encryption.context)).toString("base64") }),
  };
}

/** Headers that reading and each part need: the customer's key, where it is his. */
export async function readHeaders(bucket: Bucket, key: string): Promise<Headers> {
  const { encryption, bucket: name } = bucket.location;
  if (encryption?.kind !== "customer") return {};
  if (!bucket.secure) {
    throw new Failure("invalid-argument", "A customer's key may go over TLS only", {
      hint: "Leave out insecure, or serverSideCustomerKeySecret.",
    });
  }
  const salt = Buffer.from(name + key);
  if (salt.length < 8) {
    throw new Failure(
      "invalid-argument",
      `"${name}" and "${key}" are too short for a customer's key`,
      {
        hint: "Together they need 8 bytes: use a longer key.",
      },
    );
  }
  const password = await encryption.key(bucket.endpoint.host);
  // As Argo derives it, so that both read what the other wrote (argon2id, one pass over 64 MiB, four lanes).
  const derived = await derive("argon2id", {
    message: password,
    nonce: salt,
    parallelism: 4,
    tagLength: 32,
    memory: 64 * 1024,
    passes: 1,
  });
  return {
    [`${prefix}-customer-algorithm`]: "AES256",
    [`${prefix}-customer-key`]: derived.toString("base64"),
    [`${prefix}-customer-key-md5`]: createHash("md5").update(derived).digest("base64"),
  };
}

function compact(context: string): string {
  try {
    const value: unknown = JSON.parse(context);
    if (typeof value === "object" && value !== null) return JSON.stringify(value);
  } catch {
    // Said below.
  }
  throw new Failure("invalid-argument", "kmsEncryptionContext is no object of JSON", {
    hint: 'Write an object such as {"team": "a"}.',
  });
}
