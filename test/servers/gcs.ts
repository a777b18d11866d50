// A stand-in for Google's store: one bucket, in memory, with the token server that a key of a service account names.
import { createHash, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import {
  ranged,
  startAnswering,
  type AnsweringServer,
  type Asked,
  type Given,
} from "./answering.ts";

export interface GcsServer extends AnsweringServer {
  readonly objects: Map<string, Buffer>;
  /** What it takes; undefined: it asks for none. */
  token: string | undefined;
  /** How many tokens were given. */
  readonly tokens: string[];
  /** Answers in place of the server where it gives something. */
  instead: ((asked: Asked) => Given | undefined) | undefined;
  /** Where it says that it is; a front may stand before it. */
  host: string | undefined;
  /** How many bytes of a part it keeps; the connection of the others is cut. */
  keeps: ((bytes: Buffer) => number) | undefined;
  /** Changes a bit of what comes in parts. */
  spoils: boolean;
  readonly replace: (name: string, bytes: Buffer) => void;
  /** Of a service account. */
  readonly key: string;
  /** Uploads that were begun and neither ended nor given up. */
  readonly sessions: Map<string, { readonly name: string; bytes: Buffer }>;
}

const json = (status: number, value: unknown): Given => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});
const error = (status: number, message: string): Given =>
  json(status, { error: { code: status, message } });

export async function startGcs(options: { readonly pageSize?: number } = {}): Promise<GcsServer> {
  const objects = new Map<string, Buffer>();
  const generations = new Map<string, string>();
  const sessions: GcsServer["sessions"] = new Map();
  const sums = new WeakMap<Buffer, string>();
  /** Whoever asks once more hears the same. */
  const ended = new Map<string, string>();
  const tokens: string[] = [];
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const state: Pick<GcsServer, "instead" | "token" | "host" | "keeps" | "spoils"> = {
    instead: undefined,
    token: undefined,
    host: undefined,
    keeps: undefined,
    spoils: false,
  };
  const keep = (name: string, bytes: Buffer): Given => {
    objects.set(name, bytes);
    generations.set(name, String(generations.size + 1 + Number(generations.get(name) ?? 1000)));
    return json(200, about(name));
  };
  const about = (name: string) => {
    const bytes = objects.get(name) ?? Buffer.alloc(0);
    const md5Hash = sums.get(bytes) ?? createHash("md5").update(bytes).digest("base64");
    sums.set(bytes, md5Hash);
    return { name, size: String(bytes.length), generation: generations.get(name), md5Hash };
  };
  const giveToken = ({ body }: Asked, url: string): Given => {
    const form = new URLSearchParams(body.toString());
    const assertion = form.get("assertion") ?? "";
    const [head = "", claims = "", signature = ""] = assertion.split(".");
    const said: unknown = JSON.parse(Buffer.from(claims, "base64url").toString() || "{}");
    const good =
      form.get("grant_type") === "urn:ietf:params:oauth:grant-type:jwt-bearer" &&
      verify(
        "sha256",
        Buffer.from(`${head}.${claims}`),
        createPublicKey(publicKey),
        Buffer.from(signature, "base64url"),
      ) &&
      typeof said === "object" &&
      said !== null &&
      "aud" in said &&
      said.aud === `${url}/token`;
    if (!good) return json(400, { error: "invalid_grant", error_description: "Invalid JWT" });
    state.token = `token-${tokens.length}-${Date.now()}`;
    tokens.push(state.token);
    return json(200, { access_token: state.token, expires_in: 3600, token_type: "Bearer" });
  };
  const upload = (asked: Asked, url: string): Given => {
    const query = asked.url.searchParams;
    const id = query.get("upload_id");
    if (id !== null) return chunk(asked, id);
    if (query.get("uploadType") === "resumable") {
      const name = `${sessions.size}-${ended.size}`;
      sessions.set(name, { name: query.get("name") ?? "", bytes: Buffer.alloc(0) });
      const own = state.host === undefined ? url : `http://${state.host}`;
      const location = `${own}/upload/storage/v1/b/artifacts/o?uploadType=resumable&upload_id=${name}`;
      return { status: 200, headers: { location } };
    }
    const [, boundary = ""] = /boundary=(\S+)/.exec(asked.headers["content-type"] ?? "") ?? [];
    const [, known, media = ""] = asked.body.toString("latin1").split(`--${boundary}`);
    const { name, md5Hash } = JSON.parse(
      Buffer.from(known?.split("\r\n\r\n")[1] ?? "", "latin1").toString(),
    ) as { readonly name: string; readonly md5Hash: string };
    const bytes = Buffer.from(media.slice(media.indexOf("\r\n\r\n") + 4, -2), "latin1");
    if (createHash("md5").update(bytes).digest("base64") !== md5Hash)
      return error(400, "Provided MD5 hash does not match");
    return keep(name, bytes);
  };
  const chunk = ({ method, headers, body }: Asked, id: string): Given => {
    const name = ended.get(id);
    if (name !== undefined) return json(200, about(name));
    const session = sessions.get(id);
    if (!session) return error(404, "No such upload");
    if (method === "DELETE") return sessions.delete(id) ? { status: 499 } : error(404, "none");
    const [, from, total] =
      /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(String(headers["content-range"])) ?? [];
    if (from !== undefined && Number(from) !== session.bytes.length)
      return error(503, "out of order");
    if (from !== undefined) {
      const kept = body.subarray(0, state.keeps?.(body) ?? body.length);
      session.bytes = Buffer.concat([session.bytes, kept]);
      if (state.spoils && from === "0") session.bytes.writeUInt8(session.bytes.readUInt8(0) ^ 1, 0);
      if (kept.length < body.length) return error(503, "it broke off");
    }
    if (total === String(session.bytes.length)) {
      sessions.delete(id);
      ended.set(id, session.name);
      return keep(session.name, session.bytes);
    }
    if (session.bytes.length % (256 * 1024) !== 0) return error(400, "no multiple of 256 KiB");
    const range = { range: `bytes=0-${session.bytes.length - 1}` };
    return { status: 308, headers: session.bytes.length === 0 ? {} : range };
  };
  const read = (asked: Asked, name: string): Given => {
    const bytes = objects.get(name);
    const generation = asked.url.searchParams.get("generation");
    if (!bytes || (generation !== null && generation !== generations.get(name)))
      return {
        status: 404,
        headers: { "content-type": "text/plain" },
        body: `No such object: ${name}`,
      };
    if (asked.url.searchParams.get("alt") !== "media") return json(200, about(name));
    const headers = {
      "x-goog-generation": generations.get(name) ?? "",
      "x-goog-hash": `crc32c=AAAAAA==,md5=${about(name).md5Hash}`,
    };
    return ranged(asked, bytes, { whole: headers, part: headers }) ?? error(416, "no such range");
  };
  const server = await startAnswering((asked, url) => {
    const given = state.instead?.(asked);
    if (given) return given;
    const { pathname, searchParams } = asked.url;
    if (pathname === "/token") return giveToken(asked, url);
    if (state.token !== undefined && asked.headers.authorization !== `Bearer ${state.token}`)
      return error(401, "Invalid Credentials");
    if (pathname === "/upload/storage/v1/b/artifacts/o") return upload(asked, url);
    const [, bucket, key] = /^\/storage\/v1\/b\/([^/]+)\/o(?:\/(.+))?$/.exec(pathname) ?? [];
    if (bucket !== "artifacts") return error(404, "The specified bucket does not exist.");
    const name = key === undefined ? undefined : decodeURIComponent(key);
    if (name === undefined) {
      const prefix = searchParams.get("prefix") ?? "";
      const after = searchParams.get("pageToken") ?? "";
      const names = [...objects.keys()].filter((one) => one.startsWith(prefix)).toSorted();
      const page = names.filter((one) => one > after).slice(0, options.pageSize ?? 1000);
      const more = page.at(-1) !== names.at(-1);
      return json(200, {
        ...(page.length > 0 ? { items: page.map(about) } : {}),
        ...(more ? { nextPageToken: page.at(-1) } : {}),
      });
    }
    if (asked.method === "DELETE")
      return objects.delete(name) ? { status: 204 } : error(404, "No such object");
    return read(asked, name);
  });
  const key = JSON.stringify({
    type: "service_account",
    client_email: "step@project.iam.gserviceaccount.com",
    private_key_id: "1",
    private_key: privateKey,
    token_uri: `${server.url}/token`,
  });
  return Object.assign(state, server, {
    objects,
    sessions,
    tokens,
    key,
    replace: (name: string, bytes: Buffer) => void keep(name, bytes),
  });
}
