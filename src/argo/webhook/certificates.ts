// oxlint-disable-next-line import/no-unassigned-import -- what the library of certificates is made with does not load without it
import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import type { Authority, Keys } from "./keys.ts";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const hour = 3_600_000;
const day = 24 * hour;
/** A clock of the API server may be behind ours, or ahead. */
const skewMs = hour;
const authorityMs = 3650 * day;
const servingMs = 90 * day;
/** An authority is replaced when it has so much left, and a certificate for serving. */
const authorityLeftMs = 365 * day;
const servingLeftMs = 30 * day;
/** A new authority signs nothing before all API servers have heard of it. */
const settleMs = 10 * 60_000;

/**
 * Keys that are good now for a server of these names: those that there are, or with new ones for what is about to end, or does not fit. The same object when nothing had
 * to be done.
 */
export async function renewed(
  keys: Keys | undefined,
  names: readonly string[],
  now: number,
): Promise<Keys> {
  x509.cryptoProvider.set(webcrypto);
  const living = (keys?.authorities ?? []).filter(
    ({ certificate }) => read(certificate).notAfter.getTime() > now,
  );
  const [newest] = living;
  const isOld = !newest || read(newest.certificate).notAfter.getTime() - now < authorityLeftMs;
  const authorities = isOld ? [await makeAuthority(now), ...living].slice(0, 3) : living;
  // The one before goes on signing until the new one is known everywhere.
  const settled = authorities.find(
    ({ certificate }) => read(certificate).notBefore.getTime() + skewMs + settleMs <= now,
  );
  const signer = settled ?? authorities.at(-1);
  if (!signer) throw new Error("There is no authority");
  const serving = keys && isGood(keys.certificate, names, authorities, now) ? keys : undefined;
  if (serving && !isOld && authorities.length === keys?.authorities.length) return serving;
  return {
    authorities,
    ...(serving
      ? { certificate: serving.certificate, key: serving.key }
      : await makeServing(signer, names, now)),
  };
}

function isGood(
  pem: string,
  names: readonly string[],
  authorities: readonly Authority[],
  now: number,
): boolean {
  const certificate = read(pem);
  const has = certificate.getExtension(x509.SubjectAlternativeNameExtension);
  const known = new Set(has?.names.items.map(({ value }) => value));
  return (
    certificate.notBefore.getTime() <= now &&
    certificate.notAfter.getTime() - now > servingLeftMs &&
    names.every((name) => known.has(name)) &&
    authorities.some((authority) => read(authority.certificate).subject === certificate.issuer)
  );
}

async function makeAuthority(now: number): Promise<Authority> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    // Each has a name of its own, by which its certificates are told.
    name: `CN=atalanta webhook ${serial()}`,
    notBefore: new Date(now - skewMs),
    notAfter: new Date(now + authorityMs),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
    ],
  });
  return { certificate: certificate.toString("pem"), key: await exported(keys.privateKey) };
}

async function makeServing(
  authority: Authority,
  names: readonly string[],
  now: number,
): Promise<Pick<Keys, "certificate" | "key">> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const [, base64 = ""] = /-----BEGIN [^-]+-----([^-]+)-----END/.exec(authority.key) ?? [];
  const signingKey = await webcrypto.subtle.importKey(
    "pkcs8",
    Buffer.from(base64, "base64"),
    algorithm,
    false,
    ["sign"],
  );
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: "CN=atalanta webhook",
    issuer: read(authority.certificate).subject,
    notBefore: new Date(now - skewMs),
    notAfter: new Date(now + servingMs),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? "ip" : "dns", value })),
      ),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    ],
  });
  return { certificate: certificate.toString("pem"), key: await exported(keys.privateKey) };
}

function read(pem: string): x509.X509Certificate {
  return new x509.X509Certificate(pem);
}

function serial(): string {
  // Positive, as RFC 5280 wants it.
  return `00${randomBytes(16).toString("hex")}`;
}

async function exported(key: webcrypto.CryptoKey): Promise<string> {
  const bytes = await webcrypto.subtle.exportKey("pkcs8", key);
  const lines =
    Buffer.from(bytes)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}
