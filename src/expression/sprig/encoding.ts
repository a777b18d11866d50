import { createHash } from "node:crypto";

import { decodeBase64 } from "../builtins.ts";
import { fault } from "../failure.ts";
import { define, type Function } from "../functions.ts";
import type { Value } from "../value.ts";
import { satisfies, Version } from "../version.ts";

function hashing(algorithm: "sha1" | "sha256" | "sha512"): Function {
  return define(1, 1, (given, { budget }) => {
    const text = given.text(0);
    budget.step(1 + Math.ceil(text.length / 1000));
    return createHash(algorithm).update(text).digest("hex");
  });
}

function adler32(text: string): string {
  let [low, high] = [1, 0];
  for (const byte of Buffer.from(text)) {
    low = (low + byte) % 65_521;
    high = (high + low) % 65_521;
  }
  return String(high * 65_536 + low);
}

const alphabet32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

function encodeBase32(text: string): string {
  let [bits, held, encoded] = [0, 0, ""];
  for (const byte of Buffer.from(text)) {
    held = ((held & 0b1111) << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) encoded += alphabet32.charAt((held >> (bits - 5)) & 31);
  }
  if (bits > 0) encoded += alphabet32.charAt((held << (5 - bits)) & 31);
  return encoded.padEnd(Math.ceil(encoded.length / 8) * 8, "=");
}

function decodeBase32(text: string): string | undefined {
  const packed = text.replaceAll(/[\r\n]/gu, "");
  if (packed.length % 8 !== 0 || !/^[A-Z2-7]*(?:={0,1}|={3,4}|={6})$/u.test(packed))
    return undefined;
  const bytes: number[] = [];
  let [bits, held] = [0, 0];
  for (const character of packed.replaceAll("=", "")) {
    held = ((held & 0xff) << 5) | alphabet32.indexOf(character);
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((held >> bits) & 0xff);
    }
  }
  return Buffer.from(bytes).toString();
}

/** sprig gives the message for what it cannot decode, and so does this. */
function decoding(name: string, decode: (text: string) => string | undefined): Function {
  return define(1, 1, (given, { budget }) => {
    const text = given.text(0);
    budget.allocate(text.length);
    budget.step(1 + Math.ceil(text.length / 100));
    return decode(text) ?? `illegal ${name} data`;
  });
}

const urlPattern =
  /^(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#([\s\S]*))?$/u;

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw fault("the URL has an invalid escape");
  }
}

function parseUrl(text: string): Value {
  const [, scheme = "", authority, path = "", query = "", fragment = ""] =
    urlPattern.exec(text) ?? [];
  const at = authority?.lastIndexOf("@") ?? -1;
  const host = authority?.slice(at + 1) ?? "";
  const opaque = scheme !== "" && authority === undefined && !path.startsWith("/");
  return new Map<Value, Value>([
    ["scheme", scheme.toLowerCase()],
    ["host", host],
    ["hostname", host.replace(/:\d*$/u, "").replaceAll(/^\[|\]$/gu, "")],
    ["path", opaque ? "" : decodePart(path)],
    ["query", query],
    ["opaque", opaque ? path : ""],
    ["fragment", decodePart(fragment)],
    ["userinfo", at === -1 ? "" : (authority?.slice(0, at) ?? "")],
  ]);
}

function joinUrl(parts: ReadonlyMap<Value, Value>): string {
  const part = (name: string): string => {
    const value = parts.get(name) ?? "";
    if (typeof value !== "string") throw fault(`the ${name} of a URL is a string`);
    return value;
  };
  const scheme = part("scheme");
  const path = encodeURI(part("path"));
  const host = part("host");
  const userinfo = part("userinfo");
  let text = scheme === "" ? "" : `${scheme}:`;
  if (part("opaque") !== "") text += part("opaque");
  else {
    if (scheme !== "" || host !== "" || userinfo !== "") {
      if (host !== "" || path !== "" || userinfo !== "") {
        text += `//${userinfo === "" ? "" : `${userinfo}@`}${host}`;
      }
    }
    text += path !== "" && !path.startsWith("/") && host !== "" ? `/${path}` : path;
  }
  if (part("query") !== "") text += `?${part("query")}`;
  return part("fragment") === "" ? text : `${text}#${encodeURI(part("fragment"))}`;
}

/** Go's path.Clean. */
function clean(path: string): string {
  const rooted = path.startsWith("/");
  const kept: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "" || segment === ".") continue;
    if (segment !== "..") kept.push(segment);
    else if (kept.length > 0 && kept.at(-1) !== "..") kept.pop();
    else if (!rooted) kept.push("..");
  }
  return rooted ? `/${kept.join("/")}` : kept.join("/") || ".";
}

function base(path: string): string {
  if (path === "") return ".";
  return path.split("/").findLast((segment) => segment !== "") ?? "/";
}

function extension(path: string): string {
  const last = path.slice(path.lastIndexOf("/") + 1);
  const dot = last.lastIndexOf(".");
  return dot === -1 ? "" : last.slice(dot);
}

function ofPath(
  name: string,
  call: (path: string) => Value,
): readonly (readonly [string, Function])[] {
  const made = define(1, 1, (given) => call(given.text(0)));
  return [
    [name, made],
    [`os${name.charAt(0).toUpperCase()}${name.slice(1)}`, made],
  ];
}

export const encoding: ReadonlyMap<string, Function> = new Map([
  ["sha1sum", hashing("sha1")],
  ["sha256sum", hashing("sha256")],
  ["sha512sum", hashing("sha512")],
  [
    "adler32sum",
    define(1, 1, (given, { budget }) => {
      budget.step(1 + Math.ceil(given.text(0).length / 100));
      return adler32(given.text(0));
    }),
  ],
  [
    "b64enc",
    define(1, 1, (given, { budget }) => {
      budget.allocate(given.text(0).length * 2);
      return Buffer.from(given.text(0)).toString("base64");
    }),
  ],
  ["b64dec", decoding("base64", decodeBase64)],
  [
    "b32enc",
    define(1, 1, (given, { budget }) => {
      budget.allocate(given.text(0).length * 2);
      budget.step(1 + Math.ceil(given.text(0).length / 100));
      return encodeBase32(given.text(0));
    }),
  ],
  ["b32dec", decoding("base32", decodeBase32)],
  ["urlParse", define(1, 1, (given) => parseUrl(given.text(0)))],
  ["urlJoin", define(1, 1, (given) => joinUrl(given.mapping(0)))],
  ["semver", define(1, 1, (given) => new Version(given.text(0)))],
  ["semverCompare", define(2, 2, (given) => satisfies(new Version(given.text(1)), given.text(0)))],
  ...ofPath("base", base),
  ...ofPath("dir", (path) => clean(path.slice(0, path.lastIndexOf("/") + 1))),
  ...ofPath("clean", clean),
  ...ofPath("ext", extension),
  ...ofPath("isAbs", (path) => path.startsWith("/")),
]);
