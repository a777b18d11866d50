import { createHmac } from "node:crypto";
import { Failure } from "../../errors/mod.ts";
import { isLoopback } from "../../network/mod.ts";
import type { AzureLocation } from "../mod.ts";
import type { Tokens } from "../tokens.ts";

interface Unsigned {
  readonly method: string;
  readonly url: URL;
  /** By names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Says who asks. */
export interface Login {
  sign(request: Unsigned, signal: AbortSignal): Promise<Unsigned>;
  /** It was not accepted. Tells whether another try may help. */
  forget(): boolean;
  /** What an answer may not show. */
  readonly secrets: readonly string[];
}

export const nobody: Login = {
  // oxlint-disable-next-line typescript/require-await -- others have to wait
  sign: async (request) => request,
  forget: () => false,
  secrets: [],
};

/** A token that stands for this machine. */
export function byToken(tokens: Tokens): Login {
  let last = "";
  return {
    sign: async (request, signal) => {
      const { protocol, hostname } = request.url;
      if (protocol !== "https:" && !isLoopback(hostname)) {
        throw new Failure("invalid-argument", "A token may go over TLS only", {
          hint: "Write the endpoint with https://.",
        });
      }
      last = await tokens.get(signal);
      return { ...request, headers: { ...request.headers, authorization: `Bearer ${last}` } };
    },
    forget: () => {
      tokens.forget(last);
      return true;
    },
    get secrets() {
      return [last];
    },
  };
}

/** The account's key, or a shared access signature in its place: Argo takes both by the same name. Read again when it is not accepted any more. */
export function byKey(
  { accountKey }: { readonly accountKey: NonNullable<AzureLocation["accountKey"]> },
  base: URL,
): Login {
  let kept: Promise<string> | undefined;
  let last = "";
  const read = async (): Promise<string> =>
    Buffer.from(await accountKey(base.host))
      .toString()
      .trim();
  return {
    sign: async (request) => {
      last = await (kept ??= read());
      return isSignature(last)
        ? withSignature(request, last)
        : withKey(request, { account: accountOf(base), key: keyIn(last) });
    },
    forget: () => {
      kept = undefined;
      return true;
    },
    get secrets() {
      const sig = new URLSearchParams(last).get("sig");
      return [last, ...(sig === null ? [] : [sig, encodeURIComponent(sig)])];
    },
  };
}

/** Base64 has neither a question mark nor an ampersand. */
function isSignature(text: string): boolean {
  return /[?&][^=]+=[^&]+/.test(text);
}

function withSignature(request: Unsigned, text: string): Unsigned {
  const url = new URL(request.url);
  const signature = text.replace(/^\?/, "");
  if (!/^[\x21-\x7E]+$/.test(signature)) throw wrong();
  url.search = url.search === "" ? signature : `${url.search}&${signature}`;
  return { ...request, url };
}

function keyIn(text: string): Buffer {
  const key = Buffer.from(text, "base64");
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text) || key.length === 0) throw wrong();
  return key;
}

function wrong(): Failure {
  return new Failure("secret-invalid", "accountKeySecret holds no key of an account", {
    hint: "Its value is the key in Base64, or a shared access signature (sv=…&sig=…).",
  });
}

/** `https://ACCOUNT.blob.…`; a server on this machine or in a cluster has the account in its path. */
function accountOf({ hostname, pathname }: URL): string {
  const [, first = ""] = pathname.split("/");
  return first === "" ? (hostname.split(".")[0] ?? "") : first;
}

const signedHeaders = [
  "content-encoding",
  "content-language",
  "content-length",
  "content-md5",
  "content-type",
  "date",
  "if-modified-since",
  "if-match",
  "if-none-match",
  "if-unmodified-since",
  "range",
];

/** https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key */
function withKey(
  request: Unsigned,
  { account, key }: { readonly account: string; readonly key: Buffer },
): Unsigned {
  const { method, url } = request;
  const headers: Record<string, string> = {
    ...request.headers,
    "x-ms-date": new Date().toUTCString(),
  };
  const own = Object.keys(headers)
    .filter((name) => name.startsWith("x-ms-"))
    .toSorted();
  const query = [...url.searchParams]
    .map(([name, value]) => [name.toLowerCase(), value] as const)
    .toSorted(([one], [other]) => (one < other ? -1 : 1));
  const text = [
    method,
    ...signedHeaders.map((name) => {
      const value = headers[name] ?? "";
      return name === "content-length" && value === "0" ? "" : value;
    }),
    ...own.map((name) => `${name}:${headers[name] ?? ""}`),
    `/${account}${url.pathname}`,
    ...query.map(([name, value]) => `${name}:${value}`),
  ].join("\n");
  const signature = createHmac("sha256", key).update(text).digest("base64");
  return {
    ...request,
    headers: { ...headers, authorization: `SharedKey ${account}:${signature}` },
  };
}
