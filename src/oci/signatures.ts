import { createPublicKey, verify, type KeyObject } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure } from "../errors/mod.ts";
import type { Registry } from "./client.ts";
import { asObject, parseObject, shortened } from "./failures.ts";
import type { Manifest } from "./manifest.ts";
import { isDigest, type Reference } from "./reference.ts";

/** Whose signature counts. */
export type Voucher =
  /** The holder of a private key. */
  | { readonly kind: "key"; readonly name: string; readonly key: KeyObject }
  /** Who had a certificate of a sigstore of this name, whose root (`trusted_root.json`) is given. */
  | {
      readonly kind: "identity";
      readonly root: string;
      readonly issuer: string;
      /** As in the certificate, whole, or as an expression that must fit all of it. */
      readonly subject: string | RegExp;
    };

/** What an attestation says, or what was signed. */
export interface Statement {
  readonly predicateType: string;
  readonly predicate: unknown;
  readonly by: string;
}

/** A voucher as a user writes it: a public key, or a certificate's issuer and subject with the root. Throws `invalid-argument`. */
export function voucherOf(given: {
  readonly pem?: string;
  /** Of the key, for messages. */
  readonly name?: string;
  readonly root?: string;
  readonly issuer?: string | undefined;
  readonly subject?: string | undefined;
  readonly subjectRegExp?: string | undefined;
}): Voucher {
  const { pem, name = "", root, issuer, subject, subjectRegExp } = given;
  const wrong = (what: string): Failure =>
    new Failure("invalid-argument", what, {
      hint: "Give a public key; or a root (trusted_root.json), an issuer, and a subject or subjectRegExp.",
    });
  if (pem !== undefined) {
    if (root ?? issuer ?? subject ?? subjectRegExp) throw wrong("It has a key and an identity");
    return { kind: "key", name, key: parseKey(pem, name) };
  }
  if (root === undefined || issuer === undefined)
    throw wrong("It has neither key nor root and issuer");
  if ((subject === undefined) === (subjectRegExp === undefined)) {
    throw wrong(subject === undefined ? "It has no subject" : "It has subject and subjectRegExp");
  }
  if (!parseObject(root)) throw wrong("Its root is no JSON object");
  if (subject !== undefined) return { kind: "identity", root, issuer, subject };
  try {
    // All of a subject, as anchors are easily forgotten.
    const fits = new RegExp(`^(?:${subjectRegExp})$`, "u");
    return { kind: "identity", root, issuer, subject: fits };
  } catch (cause) {
    throw new Failure("invalid-argument", `"${subjectRegExp}" is no expression`, { cause });
  }
}

/** A signature that was found, not checked yet. */
export type Signature =
  /** Of a payload as it is: cosign's simple signing. */
  | {
      readonly kind: "payload";
      readonly payload: Buffer;
      readonly signature: Buffer;
      /** PEM, and what a log said of it. */
      readonly certificate?: string;
      readonly log?: string;
    }
  /** A DSSE envelope around an in-toto statement; with a certificate in cosign's older form, or all of it in a sigstore bundle. */
  | {
      readonly kind: "envelope";
      readonly envelope: Envelope;
      readonly certificate?: string;
      readonly log?: string;
      readonly bundle?: string;
    };

interface Envelope {
  readonly payloadType: string;
  readonly payload: Buffer;
  readonly signatures: readonly Buffer[];
}

/** Others' signatures may lie beside ours; but nobody looks at any number of them. */
const mostSignatures = 50;
/** A payload is a few lines; an attestation may hold the list of an image's parts. */
const payloadBytes = 64 * 1024;
const envelopeBytes = 16 * 1024 * 1024;
const mostBrackets = 5000;
/** They lie in memory until all are looked at. */
const allBytes = 64 * 1024 * 1024;

const simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json";
const dsse = "application/vnd.dsse.envelope.v1+json";
const bundleType = /^application\/vnd\.dev\.sigstore\.bundle(?:\.v|\+json;version=)0\.\d/;
const statementType = "application/vnd.in-toto+json";
/** The predicate of a signature where it is an attestation (cosign 3). */
const signPredicate = "https://sigstore.dev/cosign/sign/v1";
const annotation = {
  signature: "dev.cosignproject.cosign/signature",
  certificate: "dev.sigstore.cosign/certificate",
  log: "dev.sigstore.cosign/bundle",
} as const;

/** A public key in PEM: of ECDSA, RSA or Ed25519. Throws `invalid-argument`. */
function parseKey(pem: string, name: string): KeyObject {
  try {
    const key = createPublicKey(pem);
    if (["ec", "rsa", "ed25519"].includes(key.asymmetricKeyType ?? "")) return key;
    throw new Error(`it is one of ${key.asymmetricKeyType}`);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure(
      "invalid-argument",
      `"${name}" is no public key that signs images: ${reason}`,
      {
        cause,
        hint: "Give a public key in PEM, such as cosign.pub.",
      },
    );
  }
}

/**
 * Looks for signatures of an image, or attestations of a type, by one of the vouchers; gives what they say. Throws `image-signature` when there is none,
 * with what was there instead.
 */
export async function checkSigned(
  reference: Reference & { readonly digest: string },
  options: {
    readonly registry: Registry;
    readonly vouchers: readonly Voucher[];
    readonly kind: "signature" | { readonly type: string };
    readonly signal?: AbortSignal | undefined;
  },
): Promise<readonly Statement[]> {
  const { vouchers, kind } = options;
  const { found, problems: damages } = await findSignatures(reference, options);
  const good: Statement[] = [];
  const problems = new Set<string>(damages.map(shortened));
  for (const signature of found) {
    try {
      const statement = await check(signature, reference.digest, vouchers);
      const wanted = kind === "signature" ? signPredicate : kind.type;
      if (statement.predicateType === wanted) good.push(statement);
    } catch (thrown) {
      problems.add(thrown instanceof Error ? shortened(thrown.message) : String(thrown));
    }
  }
  if (good.length > 0) return good;
  const what = kind === "signature" ? "signature" : `attestation "${kind.type}"`;
  const why = problems.size === 0 ? "" : ` (${[...problems].slice(0, 3).join("; ")})`;
  throw new Failure(
    "image-signature",
    `it has no ${what} by ${vouchers.map(nameOf).join(" or ")}; ${found.length} are there${why}`,
    { hint: "Sign it with cosign, or have it signed by one whom the policy trusts." },
  );
}

function nameOf(voucher: Voucher): string {
  if (voucher.kind === "key") return `the key "${voucher.name}"`;
  return `${String(voucher.subject)} of ${voucher.issuer}`;
}

/** Throws an error that says why a signature is none of the vouchers', or not of this image. */
async function check(
  signature: Signature,
  digest: string,
  vouchers: readonly Voucher[],
): Promise<Statement> {
  const problems: string[] = [];
  for (const voucher of vouchers) {
    try {
      if (voucher.kind === "key") byKey(signature, voucher.key);
      else {
        const { byIdentity } = await import("./keyless.ts");
        byIdentity(signature, voucher);
      }
      const by = nameOf(voucher);
      return signature.kind === "payload"
        ? { ...ofPayload(signature.payload, digest), by }
        : { ...ofStatement(signature.envelope, digest), by };
    } catch (thrown) {
      problems.push(thrown instanceof Error ? thrown.message : String(thrown));
    }
  }
  throw new Error(problems.join(", "));
}

function byKey(signature: Signature, key: KeyObject): void {
  if (signature.kind === "payload") {
    if (fits(key, signature.payload, signature.signature)) return;
  } else {
    const signed = preAuthEncoding(signature.envelope);
    if (signature.envelope.signatures.some((one) => fits(key, signed, one))) return;
  }
  // cosign signs so since 2.6, and does not accept it itself; Node has no such thing.
  const or = key.asymmetricKeyType === "ed25519" ? ", or this one by Ed25519ph" : "";
  throw new Error(`another key signed it${or}`);
}

/** cosign takes the digest that goes with the curve, or SHA-256 when it was told nothing of curves. */
const digestsOf: ReadonlyMap<string, readonly string[]> = new Map([
  ["secp384r1", ["sha384", "sha256"]],
  ["secp521r1", ["sha512", "sha256"]],
]);

function fits(key: KeyObject, signed: Buffer, signature: Buffer): boolean {
  if (key.asymmetricKeyType === "ed25519") return verify(null, signed, key, signature);
  const curve = key.asymmetricKeyDetails?.namedCurve ?? "";
  const digests = digestsOf.get(curve) ?? ["sha256"];
  return digests.some((digest) => verify(digest, signed, key, signature));
}

/** What a DSSE signature is of (https://github.com/secure-systems-lab/dsse, protocol.md). */
function preAuthEncoding({ payloadType, payload }: Envelope): Buffer {
  const type = Buffer.from(payloadType);
  return Buffer.concat([
    Buffer.from(`DSSEv1 ${type.length} `),
    type,
    Buffer.from(` ${payload.length} `),
    payload,
  ]);
}

/** cosign's specification, SIGNATURE_SPEC.md, "Payload". */
function ofPayload(payload: Buffer, digest: string): Omit<Statement, "by"> {
  const said = parseObject(payload.toString());
  const critical = asObject(said?.["critical"]);
  if (critical?.["type"] !== "cosign container image signature") {
    throw new Error("what was signed is no statement on an image");
  }
  const signed = asObject(critical["image"])?.["docker-manifest-digest"];
  if (signed !== digest) throw new Error(`it is the signature of ${shortened(String(signed))}`);
  return { predicateType: signPredicate, predicate: said?.["optional"] ?? {} };
}

/** https://in-toto.io/Statement/v1, and v0.1 before it. */
function ofStatement({ payloadType, payload }: Envelope, digest: string): Omit<Statement, "by"> {
  const statement = payloadType === statementType ? parseObject(payload.toString()) : undefined;
  if (!/^https:\/\/in-toto\.io\/Statement\/v(?:0\.1|1)$/.test(String(statement?.["_type"]))) {
    throw new Error("what was signed is no in-toto statement");
  }
  const [algorithm = "", digits = ""] = digest.split(":");
  const subjects: readonly unknown[] = Array.isArray(statement?.["subject"])
    ? statement["subject"]
    : [];
  const ofIt = subjects.some(
    (subject) => asObject(asObject(subject)?.["digest"])?.[algorithm] === digits,
  );
  if (!ofIt) throw new Error("it is a statement on something else");
  return {
    predicateType: String(statement?.["predicateType"]),
    predicate: statement?.["predicate"],
  };
}

interface Found {
  readonly found: readonly Signature[];
  readonly problems: readonly string[];
}

interface Finding {
  readonly registry: Registry;
  readonly signal?: AbortSignal | undefined;
}

/** By cosign's tags and by what refers to the image. What is damaged or cannot be understood is left out, and told. */
async function findSignatures(
  { registry: host, repository, digest }: Reference & { readonly digest: string },
  { registry, signal }: Finding,
): Promise<Found> {
  const place = { registry: host, repository };
  const found: Signature[] = [];
  const problems: string[] = [];
  let bytesLeft = allBytes;
  const manifest = async (
    name: { tag: string } | { digest: string },
  ): Promise<readonly Layer[]> => {
    const got = await unlessDamaged(problems, () =>
      registry.manifest({ ...place, ...name }, { signal }),
    );
    return got ? layersOf(got) : [];
  };
  const layers: Layer[] = [];
  for (const suffix of ["sig", "att"]) {
    layers.push(...(await manifest({ tag: `${digest.replace(":", "-")}.${suffix}` })));
  }
  const referrers = await registry.referrers(place, digest, { signal });
  for (const referrer of referrers.filter((one) => isDigest(one.digest)).slice(0, mostSignatures)) {
    layers.push(...(await manifest({ digest: referrer.digest })));
  }
  const folder = await mkdtemp(join(tmpdir(), "atalanta-signatures-"));
  try {
    for (const layer of layers.slice(0, mostSignatures)) {
      const { mediaType, size } = layer;
      const most = mediaType === simpleSigning ? payloadBytes : envelopeBytes;
      if (size > Math.min(most, bytesLeft)) {
        problems.push(`one of ${size} bytes is too large`);
        continue;
      }
      bytesLeft -= size;
      const path = join(folder, "payload");
      const signature = await unlessDamaged(problems, async () => {
        await registry.blob(place, layer, { path }, { signal });
        return understood(layer, await readFile(path));
      });
      await rm(path, { force: true });
      if (signature) found.push(signature);
    }
    return { found, problems };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Anybody who may push can put a broken one beside the good ones. */
async function unlessDamaged<Value>(
  problems: string[],
  work: () => Promise<Value>,
): Promise<Value | undefined> {
  try {
    return await work();
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw thrown;
    if (thrown.code === "image-not-found") return undefined;
    if (thrown.code !== "image-invalid") throw thrown;
    problems.push(thrown.message);
    return undefined;
  }
}

interface Layer {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations: Readonly<Record<string, unknown>>;
}

function isSignature(mediaType: string): boolean {
  return mediaType === simpleSigning || mediaType === dsse || bundleType.test(mediaType);
}

function layersOf({ bytes }: Manifest): readonly Layer[] {
  const layers = parseObject(Buffer.from(bytes).toString())?.["layers"];
  if (!Array.isArray(layers)) return [];
  return layers.slice(0, mostSignatures).flatMap((given: unknown) => {
    const { mediaType, digest, size, annotations } = asObject(given) ?? {};
    const whole =
      typeof mediaType === "string" &&
      isSignature(mediaType) &&
      typeof digest === "string" &&
      isDigest(digest) &&
      typeof size === "number" &&
      Number.isSafeInteger(size);
    return whole ? [{ mediaType, digest, size, annotations: asObject(annotations) ?? {} }] : [];
  });
}

function understood({ mediaType, annotations }: Layer, bytes: Buffer): Signature | undefined {
  const text = (key: string): string | undefined => {
    const value = annotations[key];
    return typeof value === "string" ? value : undefined;
  };
  const certificate = text(annotation.certificate);
  const log = text(annotation.log);
  const proof = { ...(certificate ? { certificate } : {}), ...(log ? { log } : {}) };
  if (mediaType === simpleSigning) {
    const signature = Buffer.from(text(annotation.signature) ?? "", "base64");
    return signature.length === 0
      ? undefined
      : { kind: "payload", payload: bytes, signature, ...proof };
  }
  checkNesting(bytes);
  const parsed = parseObject(bytes.toString());
  const bundle = mediaType === dsse ? undefined : bytes.toString();
  const envelope = envelopeOf(bundle === undefined ? parsed : asObject(parsed?.["dsseEnvelope"]));
  return envelope && { kind: "envelope", envelope, ...proof, ...(bundle ? { bundle } : {}) };
}

/** An envelope is flat, and what it holds is base64. JSON that only nests takes a second for 16 MiB, and a walk over it minutes. */
function checkNesting(bytes: Buffer): void {
  let brackets = 0;
  for (const byte of bytes) if (byte === 0x5b || byte === 0x7b) brackets++;
  if (brackets <= mostBrackets) return;
  throw new Failure("image-invalid", `one with ${brackets} brackets is no envelope`);
}

function envelopeOf(given: Readonly<Record<string, unknown>> | undefined): Envelope | undefined {
  const { payloadType, payload, signatures } = given ?? {};
  if (typeof payloadType !== "string" || typeof payload !== "string") return undefined;
  if (!Array.isArray(signatures)) return undefined;
  const found = signatures.slice(0, 10).flatMap((one: unknown) => {
    const sig = asObject(one)?.["sig"];
    return typeof sig === "string" ? [Buffer.from(sig, "base64")] : [];
  });
  return { payloadType, payload: Buffer.from(payload, "base64"), signatures: found };
}
