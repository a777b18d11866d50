import { createHash, X509Certificate } from "node:crypto";
import { bundleFromJSON } from "@sigstore/bundle";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import { toSignedEntity, toTrustMaterial, Verifier } from "@sigstore/verify";
import { asObject, parseObject, shortened } from "./failures.ts";
import type { Signature, Voucher } from "./signatures.ts";

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
  const bundle = bundleFromJSON(serialized);
  const trusted = toTrustMaterial(TrustedRoot.fromJSON(parseObject(root)));
  const { identity } = new Verifier(trusted).verify(toSignedEntity(bundle, payload));
  const who = identity?.subjectAlternativeName ?? "";
  const from = identity?.extensions?.issuer ?? "";
  if (from !== issuer) throw new Error(`it was signed by one of "${shortened(from)}"`);
  const fits = typeof subject === "string" ? who === subject : subject.test(who);
  if (!fits) throw new Error(`it was signed by "${shortened(who)}"`);
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
