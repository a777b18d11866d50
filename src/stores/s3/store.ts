import { createHash } from "node:crypto";
import { join } from "node:path";
import { Failure } from "../../errors/mod.ts";
import type { HostBytes, TreeEntry } from "../../wasi/mod.ts";
import { eachOf, sizeOf } from "../files.ts";
import type { Downloaded, ListedObject, S3Location, UploadContent, Uploaded } from "../mod.ts";
import type { Store, StoreContext, Transfer, Wait } from "../stores.ts";
import { Trouble } from "../trouble.ts";
import { ambient } from "./ambient.ts";
import { named, openBucket, Known, type Bucket } from "./bucket.ts";
import { makeBucket } from "./make-bucket.ts";
import { downloadObject } from "./download.ts";
import { checkKey, endpointOf } from "./endpoint.ts";
import { readHeaders } from "./encryption.ts";
import { downloadFolder } from "./folder.ts";
import { anonymous, fromKeys, type Identities } from "./identities.ts";
import { listObjects } from "./list.ts";
import { uploadContent, uploadStream } from "./upload.ts";
import { escaped, parseXml, textOf } from "./xml.ts";

/** Opens S3 and whatever speaks its language. */
// oxlint-disable-next-line typescript/require-await -- as other kinds of stores
export async function openS3(context: StoreContext): Promise<Required<Store<S3Location>>> {
  return new S3(context);
}

const filesAtOnce = 8;
/** What DeleteObjects takes. */
const deletedAtOnce = 1000;

class S3 implements Required<Store<S3Location>> {
  readonly #context: StoreContext;
  readonly #known = new Known();
  /** By role and region; operators name few. */
  readonly #ambient = new Map<string, Identities>();

  constructor(context: StoreContext) {
    this.#context = context;
  }

  async download(location: S3Location, folder: string, options: Transfer): Promise<Downloaded> {
    const bucket = await this.#bucket(location);
    const { key } = location;
    return named(bucket, `download "${key}"`, async () => {
      const isFolder = key === "" || key.endsWith("/");
      if (!isFolder) checkKey(key);
      const file = isFolder ? undefined : await downloadFile(bucket, join(folder, "0"), options);
      if (file !== undefined) return file;
      const prefix = isFolder ? key : `${key}/`;
      const entries = await downloadFolder(bucket, prefix, folder, options);
      if (entries) return { kind: "directory", entries };
      throw new Failure("artifact-missing", "there is no object of that key and none below it", {
        hint: "Was it written under that key, and to that bucket?",
      });
    });
  }

  async upload(location: S3Location, content: UploadContent, options: Transfer): Promise<Uploaded> {
    const bucket = await this.#bucket(location);
    const { key } = location;
    return named(bucket, `upload "${key}"`, async () => {
      if (location.createBucket) await makeBucket(bucket, options.signal);
      let sent = 0;
      const counted = {
        signal: options.signal,
        onBytes: (bytes: number) => {
          sent += bytes;
          if (bytes !== 0) options.onProgress(sent);
        },
      };
      if (content.kind === "directory") {
        return uploadFolder(bucket, key, content.entries, counted);
      }
      if (key === "" || key.endsWith("/")) {
        throw new Failure("artifact-path", "A file needs a key that does not end in a slash", {
          hint: "Write the name of the object.",
        });
      }
      if (content.kind === "stream") {
        return { bytes: await uploadStream(bucket, key, content.bytes, counted), files: 1 };
      }
      await uploadContent(bucket, key, content.content, counted);
      return { bytes: sizeOf(content.content), files: 1 };
    });
  }

  async *list(location: S3Location, { signal }: Wait): AsyncGenerator<ListedObject> {
    const bucket = await this.#bucket(location);
    const { key } = location;
    const what = `list "${key}"`;
    if (key !== "" && !key.endsWith("/")) {
      const object = await named(bucket, what, () => headObject(bucket, signal));
      if (object) yield object;
    }
    const prefix = key === "" || key.endsWith("/") ? key : `${key}/`;
    const objects = listObjects(bucket, prefix, signal);
    for (;;) {
      const next = await named(bucket, what, () => objects.next());
      if (next.done === true) return;
      yield next.value;
    }
  }

  async delete(location: S3Location, { signal }: Wait): Promise<void> {
    const bucket = await this.#bucket(location);
    const { key } = location;
    await named(bucket, `delete "${key}"`, async () => {
      if (key.replaceAll("/", "") === "") {
        throw new Failure("invalid-argument", "That would be all of the bucket", {
          hint: "Write the key of an artifact.",
        });
      }
      if (!key.endsWith("/")) {
        checkKey(key);
        await bucket.text({ method: "DELETE", key, signal });
        return;
      }
      let keys: string[] = [];
      for await (const object of listObjects(bucket, key, signal)) {
        keys.push(object.key);
        if (keys.length < deletedAtOnce) continue;
        await deleteObjects(bucket, keys, signal);
        keys = [];
      }
      if (keys.length > 0) await deleteObjects(bucket, keys, signal);
    });
  }

  #bucket(location: S3Location): Promise<Bucket> {
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
}

/** Undefined: there is no such object. */
async function downloadFile(
  bucket: Bucket,
  path: string,
  { signal, onProgress }: Transfer,
): Promise<Downloaded | undefined> {
  let told = 0;
  try {
    const size = await downloadObject(bucket, bucket.location.key, path, {
      signal,
      mostBytes: bucket.context.limits.bytes,
      onBytes: (bytes) => {
        told += bytes;
        onProgress(told);
      },
    });
    return { kind: "file", content: { kind: "slice", path, offset: 0, size } };
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === "artifact-missing") return undefined;
    throw thrown;
  }
}

async function headObject(bucket: Bucket, signal: AbortSignal): Promise<ListedObject | undefined> {
  const { key } = bucket.location;
  checkKey(key);
  try {
    const headers = await readHeaders(bucket, key);
    const { answer } = await bucket.text({ method: "HEAD", key, headers, signal });
    return { key, size: Number(answer.headers["content-length"] ?? 0) };
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === "artifact-missing") return undefined;
    throw thrown;
  }
}

/** Files by their paths, and an empty object for each folder that would be lost. Links are left out, as Argo does. */
async function uploadFolder(
  bucket: Bucket,
  key: string,
  entries: readonly TreeEntry[],
  options: { readonly signal: AbortSignal; readonly onBytes: (bytes: number) => void },
): Promise<Uploaded> {
  const prefix = key === "" || key.endsWith("/") ? key : `${key}/`;
  const files = entries.filter((entry) => entry.kind === "file");
  const nonEmpty = new Set(
    entries.flatMap(({ kind, path }) => (kind === "symlink" ? [] : parentsOf(path))),
  );
  const empty = entries.filter(
    ({ kind, path }) => kind === "directory" && path !== "" && !nonEmpty.has(path),
  );
  const nothing = { kind: "bytes" as const, bytes: new Uint8Array() };
  const objects: { readonly key: string; readonly content: HostBytes }[] = [
    ...files.map(({ path, content }) => ({ key: `${prefix}${path}`, content })),
    ...empty.map(({ path }) => ({ key: `${prefix}${path}/`, content: nothing })),
  ];
  if (objects.length === 0 && prefix !== "") objects.push({ key: prefix, content: nothing });
  await eachOf(
    objects,
    { atOnce: filesAtOnce, signal: options.signal },
    ({ key, content }, signal) => uploadContent(bucket, key, content, { ...options, signal }),
  );
  return {
    bytes: files.reduce((sum, { content }) => sum + sizeOf(content), 0),
    files: objects.length,
  };
}

/** `a` and `a/b` of `a/b/c`. */
function parentsOf(path: string): readonly string[] {
  const parts = path.split("/");
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"));
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
