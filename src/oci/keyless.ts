import { createHash, X509Certificate } from "node:crypto";
import { bundleFromJSON } from "@sigstore/bundle";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import { toSignedEntity, toTrustMaterial, Verifier } from "@sigstore/verify";
import { asObject, parseObject, shortened } from "./failures.ts";
import type { Signature, Voucher } from "./signatures.ts";

/** One log and one clock are usual; some sign with two. */
const mostProofs = 8;
/** A certificate, an entry of a log and the path to its root have 10 to 20 KiB. */
const proofBytes = 256 * 1024;

/**
 * Checks a signature that has a certificate instead of a key, without asking anybody: the certificate is one of the root's and named in its log of
 * certificates, and the log of signatures has the signature from when the certificate was good. Throws an error that says what is wrong.
 */
export function byIdentity(
  signature: Signature,
  { root, issuer, subject }: Extract<Voucher, { readonly kind: "identity" }>,
): void {
  const payload = signature.kind === "payload" ? signature.payload : undefined;
  const given = signature.kind === "envelope" ? signature.bundle : undefined;
  const serialized = given === undefined ? bundleOf(signature) : parseObject(given);
  checkProofs(signature, asObject(serialized)?.["verificationMaterial"]);
  const bundle = bundleFromJSON(serialized);
  // Where a bundle has a signature of something else beside the envelope, that one would be looked at.
  const kind = signature.kind === "payload" ? "messageSignature" : "dsseEnvelope";
  if (bundle.content.$case !== kind) throw new Error("its bundle has more than one content");
  const trusted = toTrustMaterial(TrustedRoot.fromJSON(parseObject(root)));
  const { identity } = new Verifier(trusted).verify(toSignedEntity(bundle, payload));
  const who = identity?.subjectAlternativeName ?? "";
  const from = identity?.extensions?.issuer ?? "";
  if (from !== issuer) throw new Error(`it was signed by one of "${shortened(from)}"`);
  const fits = typeof subject === "string" ? who === subject : subject.test(who);
  if (!fits) throw new Error(`it was signed by "${shortened(who)}"`);
}

/**
 * Refuses more proofs than anybody makes. The verifier compares entries and times in pairs before it looks at any signature: 100,000 of them, in 16 MiB, would
 * keep this thread for an hour.
 */
function checkProofs(signature: Signature, material: unknown): void {
  const { certificate = "", log = "" } = signature;
  const content =
    signature.kind === "envelope" && signature.bundle !== undefined
      ? signature.bundle.length - Math.ceil(signature.envelope.payload.length / 3) * 4
      : 0;
  const length = certificate.length + log.length + content;
  if (length > proofBytes) {
    throw new Error(`it has ${length} bytes of proofs; ${proofBytes} may be`);
  }
  const { tlogEntries, timestampVerificationData, x509CertificateChain } = asObject(material) ?? {};
  const lists = [
    tlogEntries,
    asObject(timestampVerificationData)?.["rfc3161Timestamps"],
    asObject(x509CertificateChain)?.["certificates"],
  ];
  for (const list of lists) {
    if (Array.isArray(list) && list.length > mostProofs) {
      throw new Error(`its bundle has ${list.length} proofs of a kind; ${mostProofs} may be`);
    }
  }
}

/** cosign 2 keeps the parts of a bundle as annotations (SIGNATURE_SPEC.md, "Properties"). */
function bundleOf(signature: Signature): object {
  const { certificate, log } = signature;
  const entry = log === undefined ? undefined : parseObject(log);
  const said = asObject(entry?.["Payload"]);
  if (certificate === undefined || !entry || !said) throw new Error("it has no certificate");
  const { body, integratedTime, logIndex, logID } = said;
  if (typeof body !== "string" || typeof logID !== "string") throw new Error("its log is damaged");
  const { kind, apiVersion } = parseObject(Buffer.from(body, "base64").toString()) ?? {};
  const { raw } = new X509Certificate(certificate);
  return {
    mediaType: "application/vnd.dev.sigstore.bundle+json;version=0.1",
    verificationMaterial: {
      x509CertificateChain: { certificates: [{ rawBytes: raw.toString("base64") }] },
      tlogEntries: [
        {
          logIndex: String(logIndex),
          logId: { keyId: Buffer.from(logID, "hex").toString("base64") },
          kindVersion: { kind: String(kind), version: String(apiVersion) },
          integratedTime: String(integratedTime),
          inclusionPromise: { signedEntryTimestamp: String(entry["SignedEntryTimestamp"]) },
          canonicalizedBody: body,
        },
      ],
    },
    ...contentOf(signature),
  };
}

function contentOf(signature: Signature): object {
  if (signature.kind === "payload") {
    const digest = createHash("sha256").update(signature.payload).digest("base64");
    return {
      messageSignature: {
        messageDigest: { algorithm: "SHA2_256", digest },
        signature: signature.signature.toString("base64"),
      },
    };
  }
  const { payloadType, payload, signatures } = signature.envelope;
  return {
    dsseEnvelope: {
      payloadType,
      payload: payload.toString("base64"),
      signatures: signatures.map((sig) => ({ sig: sig.toString("base64"), keyid: "" })),
    },
  };
}
