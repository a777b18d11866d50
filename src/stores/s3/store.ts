import { createHash } from "node:crypto";
import { Failure } from "../../errors/mod.ts";
import type { ListedObject, S3Credentials, S3Location } from "../mod.ts";
import { checkKey } from "../objects/keys.ts";
import { strongTag, type Objects } from "../objects/objects.ts";
import { ObjectStore } from "../objects/store.ts";
import type { Store, StoreContext } from "../stores.ts";
import type { Answer } from "../transport.ts";
import { Trouble } from "../trouble.ts";
import { escaped, parseXml, textOf } from "../xml.ts";
import { ambient } from "./ambient.ts";
import { named, openBucket, Known, type Bucket } from "./bucket.ts";
import { makeBucket } from "./make-bucket.ts";
import { endpointOf } from "./endpoint.ts";
import { readHeaders } from "./encryption.ts";
import { anonymous, fromKeys, type Identities } from "./identities.ts";
import { listObjects } from "./list.ts";
import { uploadContent, uploadStream } from "./upload.ts";
import { ofWebIdentity } from "./web-identity.ts";

/** Web identities whose credentials are kept; the one that was not used for longest makes room. */
const mostWebIdentities = 1000;

/** Opens S3 and whatever speaks its language. */
// oxlint-disable-next-line typescript/require-await -- as other kinds of stores
export async function openS3(context: StoreContext): Promise<Required<Store<S3Location>>> {
  const buckets = new Buckets(context);
  return new ObjectStore<S3Location>({
    open: async (location) => objectsOf(await buckets.open(location)),
    keyOf: ({ key }) => key,
    prepare: async (location, signal) => {
      if (location.createBucket) await makeBucket(await buckets.open(location), signal);
    },
  });
}

class Buckets {
  readonly #context: StoreContext;
  readonly #known = new Known();
  /** By role and region; operators name few. */
  readonly #ambient = new Map<string, Identities>();
  readonly #webIdentities = new Map<string, Identities>();

  constructor(context: StoreContext) {
    this.#context = context;
  }

  open(location: S3Location): Promise<Bucket> {
    return openBucket(location, {
      context: this.#context,
      identities: this.#identities(location),
      known: this.#known,
    });
  }

  #identities(location: S3Location): Identities {
    const { credentials, endpoint, region, ofOperator } = location;
    if (credentials.kind === "anonymous") return anonymous;
    if (credentials.kind === "keys") return fromKeys(credentials, endpointOf(location).host);
    if (credentials.kind === "web-identity") {
      return this.#webIdentity(credentials, region ?? endpointOf(location).region);
    }
    if (ofOperator !== true) {
      throw new Failure(
        "secret-missing",
        `There are no credentials for "${endpoint}": this machine's own are for the operator's repository alone`,
        { hint: "Name accessKeySecret and secretKeySecret." },
      );
    }
    const { roleArn } = credentials;
    const name = JSON.stringify([roleArn, region]);
    const known = this.#ambient.get(name);
    if (known) return known;
    const made = ambient(this.#context, { roleArn, region });
    this.#ambient.set(name, made);
    return made;
  }

  #webIdentity(
    credentials: Extract<S3Credentials, { readonly kind: "web-identity" }>,
    region: string | undefined,
  ): Identities {
    const { identity, roleArn, asked } = credentials;
    const name = JSON.stringify([identity.name, roleArn, asked, region]);
    const known = this.#webIdentities.get(name);
    const found = known ?? ofWebIdentity(this.#context, { ...credentials, region });
    this.#webIdentities.delete(name);
    this.#webIdentities.set(name, found);
    const [oldest] = this.#webIdentities.keys();
    if (this.#webIdentities.size > mostWebIdentities && oldest !== undefined)
      this.#webIdentities.delete(oldest);
    return found;
  }
}

function objectsOf(bucket: Bucket): Objects {
  return {
    context: bucket.context,
    secure: bucket.secure,
    checkKey,
    named: (what, work) => named(bucket, what, work),
    retried: (signal, work) => bucket.retried(signal, work),
    get: async (key, { range, version }, signal) =>
      bucket.once({
        method: "GET",
        key,
        headers: {
          ...(await readHeaders(bucket, key)),
          ...(range === undefined ? {} : { range }),
          ...(version === undefined ? {} : { "if-match": version }),
        },
        signal,
      }),
    versionIn: strongTag,
    md5In,
    head: (key, signal) => headObject(bucket, key, signal),
    list: (prefix, signal) => listObjects(bucket, prefix, signal),
    upload: (key, content, options) => uploadContent(bucket, key, content, options),
    uploadStream: (key, bytes, options) => uploadStream(bucket, key, bytes, options),
    remove: async (key, signal) => {
      await bucket.text({ method: "DELETE", key, signal });
    },
    removeAll: (keys, signal) => deleteObjects(bucket, keys, signal),
  };
}

async function headObject(
  bucket: Bucket,
  key: string,
  signal: AbortSignal,
): Promise<ListedObject | undefined> {
  try {
    const headers = await readHeaders(bucket, key);
    const { answer } = await bucket.text({ method: "HEAD", key, headers, signal });
    return { key, size: Number(answer.headers["content-length"] ?? 0) };
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === "artifact-missing") return undefined;
    throw thrown;
  }
}

/** The MD5 that an answer tells of a whole object that was neither put together of parts nor encrypted by a key of somebody's. */
function md5In({ headers }: Answer): string | undefined {
  const encryption = headers["x-amz-server-side-encryption"];
  const plain = encryption === undefined || encryption === "AES256";
  const customer = headers["x-amz-server-side-encryption-customer-algorithm"];
  const [, md5] = /^"([0-9a-f]{32})"$/.exec(headers.etag ?? "") ?? [];
  return plain && customer === undefined ? md5 : undefined;
}

async function deleteObjects(
  bucket: Bucket,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const objects = keys.map((key) => `<Object><Key>${escaped(key)}</Key></Object>`).join("");
  const bytes = Buffer.from(
    `<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>${objects}</Delete>`,
  );
  const { text } = await bucket.text({
    method: "POST",
    query: { delete: "" },
    headers: {
      "content-type": "application/xml",
      "content-md5": createHash("md5").update(bytes).digest("base64"),
    },
    body: {
      size: bytes.length,
      payload: createHash("sha256").update(bytes).digest("hex"),
      pieces: () => [bytes],
    },
    signal,
  });
  const errors = parseXml(text).children.filter(({ name }) => name === "Error");
  const error = errors.find((one) => textOf(one, "Code") !== "NoSuchKey");
  if (!error) return;
  const [code, key] = [textOf(error, "Code"), textOf(error, "Key")];
  throw new Trouble(
    "store-refused",
    `it did not delete ${errors.length} of ${keys.length} objects, "${key}" with ${code}`,
    { hint: "Do these credentials have a right to it? An object may be locked." },
  );
}
