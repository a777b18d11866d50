import { Failure } from "../../errors/mod.ts";
import { eachOf } from "../files.ts";
import type { GcsLocation, ListedObject } from "../mod.ts";
import { checkKey } from "../objects/keys.ts";
import type { Objects } from "../objects/objects.ts";
import { ObjectStore } from "../objects/store.ts";
import type { Store, StoreContext } from "../stores.ts";
import type { Answer } from "../transport.ts";
import { Trouble } from "../trouble.ts";
import { Bucket } from "./bucket.ts";
import { Logins } from "./login.ts";
import { uploadContent, uploadStream } from "./upload.ts";

const google = "https://storage.googleapis.com";
const deletedAtOnce = 16;
/** A bucket that skips what was deleted may answer with some of them. */
const emptyPages = 100;

/** Opens Google's store, through its JSON interface. */
// oxlint-disable-next-line typescript/require-await -- as other kinds of stores
export async function openGcs(context: StoreContext): Promise<Required<Store<GcsLocation>>> {
  const logins = new Logins(context);
  return new ObjectStore<GcsLocation>({
    open: async (location) => {
      const base = baseOf(location.endpoint ?? google);
      const { serviceAccount, ofOperator } = location;
      const tokens = serviceAccount
        ? logins.ofAccount(Buffer.from(await serviceAccount(base.host)).toString())
        : ofOperator === true
          ? logins.ofMachine()
          : undefined;
      const manner = context.manner(location);
      return objectsOf(new Bucket(location, { context, base, manner, tokens }));
    },
    keyOf: ({ key }) => key,
  });
}

function baseOf(endpoint: string): URL {
  const url = URL.parse(endpoint);
  if (url && /^https?:$/.test(url.protocol) && url.pathname === "/" && url.search === "")
    return url;
  throw new Failure("invalid-argument", `"${endpoint}" is no endpoint of Google's store`);
}

function objectsOf(bucket: Bucket): Objects {
  return {
    context: bucket.context,
    secure: bucket.secure,
    checkKey,
    named: (what, work) => bucket.named(what, work),
    retried: (signal, work) => bucket.retried(signal, work),
    get: async (key, { range, version }, signal) => {
      const generation = version === undefined ? {} : { generation: version };
      try {
        return await bucket.once({
          method: "GET",
          url: bucket.url("storage", key, { alt: "media", ...generation }),
          headers: {
            accept: "*/*",
            // As it is stored: what lies there packed is not unpacked on the way, for which there would be no sum and no ranges.
            "accept-encoding": "gzip",
            ...(range === undefined ? {} : { range }),
          },
          signal,
        });
      } catch (thrown) {
        if (!isMissing(thrown)) throw thrown;
        throw version === undefined
          ? new Trouble("artifact-missing", thrown.message, { reason: "notFound" })
          : new Trouble("store-unavailable", "the object was changed meanwhile", {
              reason: "PreconditionFailed",
            });
      }
    },
    versionIn: ({ headers }) => {
      const generation = headers["x-goog-generation"];
      return typeof generation === "string" && /^\d+$/.test(generation) ? generation : undefined;
    },
    md5In,
    head: async (key, signal) => {
      try {
        const url = bucket.url("storage", key, { fields: "name,size" });
        return listed(await bucket.json({ method: "GET", url, signal }), key);
      } catch (thrown) {
        if (isMissing(thrown)) return undefined;
        throw thrown;
      }
    },
    list: (prefix, signal) => listObjects(bucket, prefix, signal),
    upload: (key, content, options) => uploadContent(bucket, key, content, options),
    uploadStream: (key, bytes, options) => uploadStream(bucket, key, bytes, options),
    remove: (key, signal) => remove(bucket, key, signal),
    removeAll: (keys, signal) =>
      eachOf(keys, { atOnce: deletedAtOnce, signal }, (key, signal) => remove(bucket, key, signal)),
  };
}

function isMissing(thrown: unknown): thrown is Trouble {
  return thrown instanceof Trouble && thrown.reason === "notFound";
}

/** The sum of the whole object, also when a part was asked for; one that was put together of others has none. */
function md5In({ headers }: Answer): string | undefined {
  const [, md5] = /\bmd5=([A-Za-z0-9+/]{22}==)/.exec(String(headers["x-goog-hash"] ?? "")) ?? [];
  return md5 === undefined ? undefined : Buffer.from(md5, "base64").toString("hex");
}

async function remove(bucket: Bucket, key: string, signal: AbortSignal): Promise<void> {
  try {
    await bucket.json({ method: "DELETE", url: bucket.url("storage", key, {}), signal });
  } catch (thrown) {
    if (!isMissing(thrown)) throw thrown;
  }
}

async function* listObjects(
  bucket: Bucket,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  let token: string | undefined;
  let empty = 0;
  do {
    const page = await bucket.json({
      method: "GET",
      url: bucket.url("storage", undefined, {
        prefix,
        maxResults: "1000",
        fields: "items(name,size),nextPageToken",
        ...(token === undefined ? {} : { pageToken: token }),
      }),
      signal,
    });
    const items: readonly unknown[] = Array.isArray(page["items"]) ? page["items"] : [];
    for (const item of items) yield listed(item, prefix);
    empty = items.length === 0 ? empty + 1 : 0;
    const next = page["nextPageToken"];
    if (next !== undefined && (typeof next !== "string" || next === token || empty > emptyPages))
      throw new Trouble("store-refused", "it answers with pages of objects that lead nowhere");
    token = next;
  } while (token !== undefined && token !== "");
}

function listed(item: unknown, prefix: string): ListedObject {
  if (typeof item === "object" && item !== null && "name" in item && "size" in item) {
    const { name, size } = item;
    const bytes = Number(size);
    if (
      typeof name === "string" &&
      name.startsWith(prefix) &&
      Number.isSafeInteger(bytes) &&
      bytes >= 0
    )
      return { key: name, size: bytes };
  }
  throw new Trouble("store-refused", "it answered with objects that nobody asked for");
}
