import type { ListedObject } from "../mod.ts";
import { Trouble } from "../trouble.ts";
import type { Bucket } from "./bucket.ts";
import { parseXml, textOf } from "../xml.ts";

/** A store that skips what was deleted may answer with some of them. */
const emptyPages = 100;

/** All objects whose keys begin with the prefix, in the store's order, a page of at most 1,000 at a time. */
export async function* listObjects(
  bucket: Bucket,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  let token: string | undefined;
  let empty = 0;
  do {
    const page = await onePage(bucket, { prefix, token, signal });
    yield* page.objects;
    empty = page.objects.length === 0 ? empty + 1 : 0;
    if (page.next !== undefined && (page.next === token || empty > emptyPages))
      throw new Trouble("store-refused", "it answers with pages of keys that lead nowhere");
    token = page.next;
  } while (token !== undefined);
}

async function onePage(
  bucket: Bucket,
  {
    prefix,
    token,
    signal,
  }: {
    readonly prefix: string;
    readonly token: string | undefined;
    readonly signal: AbortSignal;
  },
): Promise<{ readonly objects: readonly ListedObject[]; readonly next: string | undefined }> {
  const { text } = await bucket.text({
    method: "GET",
    query: {
      "list-type": "2",
      prefix,
      // XML cannot say each character that a key may have.
      "encoding-type": "url",
      ...(token === undefined ? {} : { "continuation-token": token }),
    },
    signal,
  });
  const root = parseXml(text);
  if (root.name !== "ListBucketResult")
    throw new Trouble("store-refused", `it answered with ${root.name} for a list of keys`);
  const inUrls = textOf(root, "EncodingType") === "url";
  const objects = root.children
    .filter(({ name }) => name === "Contents")
    .map((element) => {
      const text = textOf(element, "Key") ?? "";
      const key = inUrls ? fromUrl(text) : text;
      const size = Number(textOf(element, "Size"));
      if (!key.startsWith(prefix) || !Number.isSafeInteger(size) || size < 0) {
        throw new Trouble("store-refused", "it answered with keys that nobody asked for");
      }
      return { key, size };
    });
  const next = textOf(root, "NextContinuationToken");
  return {
    objects,
    next: textOf(root, "IsTruncated") === "true" && next !== "" ? next : undefined,
  };
}

function fromUrl(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw new Trouble("store-refused", "it answered with a key that is no Unicode");
  }
}
