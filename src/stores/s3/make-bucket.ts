import { createHash } from "node:crypto";
import { Trouble } from "../trouble.ts";
import type { Body, Bucket } from "./bucket.ts";
import { escaped } from "../xml.ts";

/** Makes the bucket unless it is there, and has it encrypt where objects shall be. */
export async function makeBucket(bucket: Bucket, signal: AbortSignal): Promise<void> {
  const { location, endpoint, known } = bucket;
  const name = `${endpoint.host}/${location.bucket}`;
  if (known.made.has(name)) return;
  if (!(await isThere(bucket, signal))) {
    try {
      await make(bucket, signal);
    } catch (thrown) {
      const reason = thrown instanceof Trouble ? thrown.reason : undefined;
      // Somebody was faster.
      if (reason !== "BucketAlreadyOwnedByYou" && reason !== "BucketAlreadyExists") throw thrown;
    }
    await encrypt(bucket, signal);
  }
  known.made.add(name);
}

async function isThere(bucket: Bucket, signal: AbortSignal): Promise<boolean> {
  try {
    await bucket.text({ method: "HEAD", signal });
    return true;
  } catch (thrown) {
    const reason = thrown instanceof Trouble ? thrown.reason : undefined;
    if (reason === "NoSuchKey") return false;
    // One that may not be looked at may be written to all the same.
    if (reason === "AccessDenied") return true;
    throw thrown;
  }
}

async function make(bucket: Bucket, signal: AbortSignal): Promise<void> {
  const { location, region } = bucket;
  // us-east-1 is where a bucket is made without saying so, and may not be said.
  const text =
    region === "us-east-1"
      ? ""
      : `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>${escaped(region)}</LocationConstraint></CreateBucketConfiguration>`;
  await bucket.text({
    method: "PUT",
    headers:
      location.createBucket?.objectLocking === true
        ? { "x-amz-bucket-object-lock-enabled": "true" }
        : {},
    body: xml(text),
    signal,
  });
}

async function encrypt(bucket: Bucket, signal: AbortSignal): Promise<void> {
  const { encryption } = bucket.location;
  if (encryption === undefined || encryption.kind === "customer") return;
  const rule =
    encryption.kind === "kms"
      ? `<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>${escaped(encryption.keyId)}</KMSMasterKeyID>`
      : "<SSEAlgorithm>AES256</SSEAlgorithm>";
  const text = `<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ApplyServerSideEncryptionByDefault>${rule}</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`;
  await bucket.text({
    method: "PUT",
    query: { encryption: "" },
    headers: { "content-md5": createHash("md5").update(text).digest("base64") },
    body: xml(text),
    signal,
  });
}

function xml(text: string): Body {
  const bytes = Buffer.from(text);
  const payload = createHash("sha256").update(bytes).digest("hex");
  return { size: bytes.length, payload, pieces: () => [bytes] };
}
