// A stand-in for Azure's blobs: one account, one container, in memory. It believes every signature: Azurite, which `npm run test:stores` starts, does not.
import { createHash } from "node:crypto";
import {
  ranged,
  startAnswering,
  type AnsweringServer,
  type Asked,
  type Given,
} from "./answering.ts";

export interface AzureServer extends AnsweringServer {
  readonly blobs: Map<string, Buffer>;
  /** Answers in place of the server where it gives something. */
  instead: ((asked: Asked) => Given | undefined) | undefined;
  /** Blocks that are not part of a blob. */
  readonly blocks: Map<string, Buffer>;
}

const account = "/account";
const container = `${account}/artifacts`;

const error = (status: number, code: string): Given => ({
  status,
  headers: { "x-ms-error-code": code, "content-type": "application/xml" },
  body: `\uFEFF<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>It is ${code}.\nRequestId:1\nTime:2</Message></Error>`,
});

export async function startAzure(
  options: { readonly pageSize?: number } = {},
): Promise<AzureServer> {
  const blobs = new Map<string, Buffer>();
  const blocks = new Map<string, Buffer>();
  const sums = new WeakMap<Buffer, string>();
  const md5 = (bytes: Buffer): string => {
    const sum = sums.get(bytes) ?? createHash("md5").update(bytes).digest("base64");
    sums.set(bytes, sum);
    return sum;
  };
  const tag = (bytes: Buffer): string => `"0x${Buffer.from(md5(bytes)).toString("hex")}"`;
  const list = ({ url }: Asked): Given => {
    const prefix = url.searchParams.get("prefix") ?? "";
    const marker = url.searchParams.get("marker") ?? "";
    const names = [...blobs.keys()].filter((name) => name.startsWith(prefix)).toSorted();
    const page = names.filter((name) => name > marker).slice(0, options.pageSize ?? 5000);
    const next = page.at(-1) === names.at(-1) ? "" : (page.at(-1) ?? "");
    const items = page.map(
      (name) =>
        `<Blob><Name>${name.replaceAll("&", "&amp;")}</Name><Properties><Content-Length>${blobs.get(name)?.length}</Content-Length></Properties></Blob>`,
    );
    return {
      status: 200,
      body: `\uFEFF<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="x"><Prefix>${prefix}</Prefix><Blobs>${items.join("")}</Blobs><NextMarker>${next}</NextMarker></EnumerationResults>`,
    };
  };
  const put = ({ url, headers, body }: Asked, name: string): Given => {
    const comp = url.searchParams.get("comp");
    const sum = headers["content-md5"];
    if (sum !== undefined && sum !== md5(body)) return error(400, "Md5Mismatch");
    if (comp === "block") blocks.set(`${name} ${url.searchParams.get("blockid")}`, body);
    else if (comp === "blocklist") {
      const ids = [...body.toString().matchAll(/<Latest>(.*?)<\/Latest>/g)].map(([, id]) => id);
      const found = ids.map((id) => blocks.get(`${name} ${id}`));
      if (found.includes(undefined)) return error(400, "InvalidBlockList");
      blobs.set(name, Buffer.concat(found.flatMap((block) => block ?? [])));
      // Those of a blob can be named again.
    } else if (headers["x-ms-blob-type"] === "BlockBlob") blobs.set(name, body);
    else return error(400, "MissingRequiredHeader");
    return { status: 201 };
  };
  const read = (asked: Asked, name: string): Given => {
    const bytes = blobs.get(name);
    if (!bytes) return error(404, "BlobNotFound");
    const etag = tag(bytes);
    const wanted = asked.headers["if-match"];
    if (wanted !== undefined && wanted !== etag) return error(412, "ConditionNotMet");
    const headers = { etag, "content-type": "application/octet-stream" };
    return (
      ranged(asked, bytes, {
        whole: { ...headers, "content-md5": md5(bytes) },
        part: { ...headers, "x-ms-blob-content-md5": md5(bytes) },
      }) ?? error(416, "InvalidRange")
    );
  };
  const state: { instead: AzureServer["instead"] } = { instead: undefined };
  const server = await startAnswering((asked) => {
    const given = state.instead?.(asked);
    if (given) return given;
    const path = decodeURIComponent(asked.url.pathname);
    if (path === container && asked.url.searchParams.get("comp") === "list") return list(asked);
    if (!path.startsWith(`${container}/`)) return error(404, "ContainerNotFound");
    const name = path.slice(container.length + 1);
    if (asked.method === "PUT") return put(asked, name);
    if (asked.method === "DELETE")
      return blobs.delete(name) ? { status: 202 } : error(404, "BlobNotFound");
    return read(asked, name);
  });
  return Object.assign(state, server, { url: `${server.url}${account}`, blobs, blocks });
}
