import { Failure } from "../../errors/mod.ts";
import { eachOf } from "../files.ts";
import type { AzureLocation, ListedObject } from "../mod.ts";
import { checkKey } from "../objects/keys.ts";
import { strongTag, type Objects } from "../objects/objects.ts";
import { ObjectStore } from "../objects/store.ts";
import type { Store, StoreContext } from "../stores.ts";
import type { Answer } from "../transport.ts";
import { Trouble } from "../trouble.ts";
import type { Tokens } from "../tokens.ts";
import { parseXml, textOf, type Element } from "../xml.ts";
import { Container } from "./container.ts";
import { byKey, byToken, nobody } from "./login.ts";
import { machineTokens } from "./machine.ts";
import { uploadContent, uploadStream } from "./upload.ts";

const deletedAtOnce = 16;
/** A container that skips what was deleted may answer with some of them. */
const emptyPages = 100;

/** Opens Azure's blobs, through their REST interface. */
// oxlint-disable-next-line typescript/require-await -- as other kinds of stores
export async function openAzure(context: StoreContext): Promise<Required<Store<AzureLocation>>> {
  let machine: Tokens | undefined;
  return new ObjectStore<AzureLocation>({
    // oxlint-disable-next-line typescript/require-await -- others have to wait
    open: async (location) => {
      const base = baseOf(location.endpoint);
      const { accountKey, ofOperator } = location;
      const login = accountKey
        ? byKey({ accountKey }, base)
        : ofOperator === true
          ? byToken((machine ??= machineTokens(context)))
          : nobody;
      const manner = context.manner(location);
      return objectsOf(new Container(location, { context, base, manner, login }));
    },
    keyOf: ({ blob }) => blob,
  });
}

/** Throws `invalid-argument`. */
function baseOf(endpoint: string): URL {
  const url = URL.parse(endpoint);
  const web = url?.protocol === "https:" || url?.protocol === "http:";
  if (
    url &&
    web &&
    url.username === "" &&
    url.password === "" &&
    url.search === "" &&
    url.hash === ""
  )
    return url;
  throw new Failure("invalid-argument", "The endpoint of Azure's is no URL", {
    hint: 'Write one such as "https://ACCOUNT.blob.core.windows.net", without a signature: that goes into accountKeySecret.',
  });
}

function objectsOf(container: Container): Objects {
  return {
    context: container.context,
    secure: container.secure,
    checkKey,
    named: (what, work) => container.named(what, work),
    retried: (signal, work) => container.retried(signal, work),
    get: async (blob, { range, version }, signal) => {
      const answer = await container.once({
        method: "GET",
        blob,
        headers: {
          ...(range === undefined ? {} : { range }),
          ...(version === undefined ? {} : { "if-match": version }),
        },
        signal,
      });
      if (!isFolder(answer)) return answer;
      answer.message.destroy();
      throw new Trouble("artifact-missing", "it is a folder", { reason: "BlobNotFound" });
    },
    versionIn: strongTag,
    md5In,
    head: (blob, signal) => headBlob(container, blob, signal),
    list: (prefix, signal) => listBlobs(container, prefix, signal),
    upload: (blob, content, options) => uploadContent(container, blob, content, options),
    uploadStream: (blob, bytes, options) => uploadStream(container, blob, bytes, options),
    remove: (blob, signal) => remove(container, blob, signal),
    removeAll: (blobs, signal) =>
      eachOf(blobs, { atOnce: deletedAtOnce, signal }, (blob, signal) =>
        remove(container, blob, signal),
      ),
  };
}

/** An account with folders of its own (Data Lake) answers for one as for an empty blob. */
function isFolder({ headers }: Answer): boolean {
  return headers["x-ms-meta-hdi_isfolder"] === "true";
}

/** The MD5 of all of the blob, also when a part was asked for. Only whoever wrote it knows whether it is right; we do write it. */
function md5In({ headers, status }: Answer): string | undefined {
  const value = status === 206 ? headers["x-ms-blob-content-md5"] : headers["content-md5"];
  if (typeof value !== "string" || !/^[A-Za-z0-9+/]{22}==$/.test(value)) return undefined;
  return Buffer.from(value, "base64").toString("hex");
}

async function headBlob(
  container: Container,
  blob: string,
  signal: AbortSignal,
): Promise<ListedObject | undefined> {
  try {
    const { answer } = await container.text({ method: "HEAD", blob, signal });
    if (isFolder(answer)) return undefined;
    return { key: blob, size: Number(answer.headers["content-length"] ?? 0) };
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === "artifact-missing") return undefined;
    throw thrown;
  }
}

async function remove(container: Container, blob: string, signal: AbortSignal): Promise<void> {
  try {
    await container.text({
      method: "DELETE",
      blob,
      headers: { "x-ms-delete-snapshots": "include" },
      signal,
    });
  } catch (thrown) {
    if (!(thrown instanceof Failure && thrown.code === "artifact-missing")) throw thrown;
  }
}

async function* listBlobs(
  container: Container,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  let marker = "";
  let empty = 0;
  do {
    const { text } = await container.text({
      method: "GET",
      query: {
        comp: "list",
        restype: "container",
        prefix,
        ...(marker === "" ? {} : { marker }),
      },
      signal,
    });
    const root = parseXml(text.replace(/^\uFEFF/, ""));
    if (root.name !== "EnumerationResults")
      throw new Trouble("store-refused", `it answered with ${root.name} for a list of blobs`);
    const blobs = childrenOf(root, "Blobs").flatMap((list) => childrenOf(list, "Blob"));
    for (const blob of blobs) yield listed(blob, prefix);
    empty = blobs.length === 0 ? empty + 1 : 0;
    const next = textOf(root, "NextMarker") ?? "";
    if (next !== "" && (next === marker || empty > emptyPages))
      throw new Trouble("store-refused", "it answers with pages of blobs that lead nowhere");
    marker = next;
  } while (marker !== "");
}

function listed(blob: Element, prefix: string): ListedObject {
  const name = textOf(blob, "Name") ?? "";
  const [properties] = childrenOf(blob, "Properties");
  const size = Number(properties && textOf(properties, "Content-Length"));
  if (!name.startsWith(prefix) || !Number.isSafeInteger(size) || size < 0) {
    throw new Trouble("store-refused", "it answered with blobs that nobody asked for");
  }
  const folder = properties && textOf(properties, "ResourceType") === "directory";
  return folder === true && !name.endsWith("/")
    ? { key: `${name}/`, size: 0 }
    : { key: name, size };
}

function childrenOf(element: Element, name: string): readonly Element[] {
  return element.children.filter((child) => child.name === name);
}
