// Makes signed.json anew: signatures without a key, by a sigstore that lives for this one run. Nothing of it is needed to run the tests.
//   npm install --no-save @sigstore/mock@0.13.0 && node test/oci/keyless/make.mjs
import { createHash, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { packageModule } from "../../../src/oci/mod.ts";
import { initializeCA, initializeCTLog, initializeTLog, initializeTSA } from "@sigstore/mock";

const issuer = "https://issuer.example";
const subject = "https://builds.example/acme/step/.build.yaml@refs/heads/main";
const pair = () => generateKeyPairSync("ec", { namedCurve: "P-256" });
const sha256 = (bytes) => createHash("sha256").update(bytes).digest();
const base64 = (bytes) => Buffer.from(bytes).toString("base64");

const hello = readFileSync(new URL("../../guests/hello/hello.wasm", import.meta.url));
const { manifest } = await packageModule(hello, { packaging: "cncf" });
const digest = `sha256:${sha256(manifest.bytes).toString("hex")}`;

const logs = pair();
const ctlog = await initializeCTLog(pair());
const tlog = await initializeTLog("https://rekor.example", logs);
// The same log an hour later, when a certificate of ten minutes is past.
const lateLog = await initializeTLog(
  "https://rekor.example",
  logs,
  new Date(Date.now() + 3_600_000),
);
const tsa = await initializeTSA(generateKeyPairSync("ec", { namedCurve: "P-384" }));
const ca = await initializeCA(pair(), ctlog);

async function signer(san) {
  const own = pair();
  const raw = await ca.issueCertificate({
    publicKey: own.publicKey.export({ type: "spki", format: "der" }),
    subjectAltName: san,
    extensions: [{ oid: "1.3.6.1.4.1.57264.1.8", value: issuer, legacy: false }],
  });
  const certificate = new X509Certificate(Buffer.from(raw.buffer ?? raw)).toString();
  return { certificate, sign: (bytes) => sign("sha256", bytes, own.privateKey) };
}

async function logged(entry, log = tlog) {
  const [found] = Object.values(await log.log(entry));
  return found;
}

/** What cosign 2 keeps of an entry of a log. */
function told(entry) {
  const { body, integratedTime, logIndex, logID, verification } = entry;
  return JSON.stringify({
    SignedEntryTimestamp: verification.signedEntryTimestamp,
    Payload: { body, integratedTime, logIndex, logID },
  });
}

const payloadType = "application/vnd.in-toto+json";

/** An in-toto statement on the image in an envelope (DSSE). */
function attest(predicateType, predicate) {
  const statement = Buffer.from(
    JSON.stringify({
      _type: "https://in-toto.io/Statement/v1",
      subject: [{ digest: { sha256: digest.slice(7) } }],
      predicateType,
      predicate,
    }),
  );
  const signed = Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${statement.length} `),
    statement,
  ]);
  const signature = who.sign(signed);
  const envelope = {
    payload: base64(statement),
    payloadType,
    signatures: [{ sig: base64(signature), keyid: "" }],
  };
  const entry = {
    apiVersion: "0.0.1",
    kind: "dsse",
    spec: {
      envelopeHash: {
        algorithm: "sha256",
        value: sha256(JSON.stringify(envelope)).toString("hex"),
      },
      payloadHash: { algorithm: "sha256", value: sha256(statement).toString("hex") },
      signatures: [{ signature: base64(signature), verifier: base64(who.certificate) }],
    },
  };
  return { statement, signature, envelope, entry };
}

const who = await signer(subject);
const payload = Buffer.from(
  JSON.stringify({
    critical: {
      identity: { "docker-reference": "example" },
      image: { "docker-manifest-digest": digest },
      type: "cosign container image signature",
    },
    optional: null,
  }),
);
const signature = who.sign(payload);
const hashed = {
  apiVersion: "0.0.1",
  kind: "hashedrekord",
  spec: {
    data: { hash: { algorithm: "sha256", value: sha256(payload).toString("hex") } },
    signature: { content: base64(signature), publicKey: { content: base64(who.certificate) } },
  },
};

// The newer form: a statement in an envelope, all of it in one bundle.
const { envelope, entry: enveloped, ...made } = attest("https://sigstore.dev/cosign/sign/v1", {});
const other = await logged(enveloped);
const proof = other.verification.inclusionProof;
const bundle = {
  mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
  verificationMaterial: {
    certificate: { rawBytes: base64(new X509Certificate(who.certificate).raw) },
    tlogEntries: [
      {
        logIndex: String(other.logIndex),
        logId: { keyId: base64(Buffer.from(other.logID, "hex")) },
        kindVersion: { kind: "dsse", version: "0.0.1" },
        integratedTime: String(other.integratedTime),
        inclusionPromise: { signedEntryTimestamp: other.verification.signedEntryTimestamp },
        inclusionProof: {
          logIndex: String(proof.logIndex),
          rootHash: base64(Buffer.from(proof.rootHash, "hex")),
          treeSize: String(proof.treeSize),
          hashes: [],
          checkpoint: { envelope: proof.checkpoint },
        },
        canonicalizedBody: other.body,
      },
    ],
  },
  dsseEnvelope: envelope,
};

// The newest: a log that tells no time, and a clock beside it.
const certificate = { rawBytes: base64(new X509Certificate(who.certificate).raw) };
const verifier = { x509Certificate: certificate, keyDetails: "PKIX_ECDSA_P256_SHA_256" };
const entryV2 = await tlog.logV2({
  apiVersion: "0.0.2",
  kind: "dsse",
  spec: {
    dsseV002: {
      payloadHash: { algorithm: "SHA2_256", digest: base64(sha256(made.statement)) },
      signatures: [{ content: base64(made.signature), verifier }],
    },
  },
});
const stamp = await tsa.timestamp({
  artifactHash: sha256(made.signature),
  hashAlgorithmOID: "2.16.840.1.101.3.4.2.1",
  nonce: 1,
  policyOID: "1.2.3.4.5.6.7.8.9",
  certReq: true,
});
const { inclusionProof: proofV2 } = entryV2;
const bundleV2 = {
  mediaType: bundle.mediaType,
  verificationMaterial: {
    certificate,
    tlogEntries: [
      {
        logIndex: entryV2.logIndex,
        logId: { keyId: base64(entryV2.logId.keyId) },
        kindVersion: entryV2.kindVersion,
        integratedTime: "0",
        inclusionProof: {
          logIndex: "0",
          rootHash: base64(sha256(Buffer.concat([Buffer.from([0]), entryV2.canonicalizedBody]))),
          treeSize: proofV2.treeSize,
          hashes: [],
          checkpoint: proofV2.checkpoint,
        },
        canonicalizedBody: base64(entryV2.canonicalizedBody),
      },
    ],
    timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: base64(stamp) }] },
  },
  dsseEnvelope: envelope,
};

const provenance = attest("https://slsa.dev/provenance/v1", { builder: { id: "ours" } });

const start = new Date(Date.now() - 86_400_000).toISOString();
const log = (publicKey, logId) => ({
  baseUrl: "https://rekor.example",
  hashAlgorithm: "SHA2_256",
  publicKey: {
    rawBytes: base64(publicKey),
    keyDetails: "PKIX_ECDSA_P256_SHA_256",
    validFor: { start },
  },
  logId: { keyId: base64(logId) },
});
const bytesOf = (view) => Buffer.from(view.buffer ?? view);
const root = {
  mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
  tlogs: [log(tlog.publicKey, sha256(tlog.publicKey))],
  certificateAuthorities: [
    {
      subject: { organization: "example", commonName: "example" },
      uri: "https://ca.example",
      certChain: { certificates: [{ rawBytes: base64(bytesOf(ca.rootCertificate)) }] },
      validFor: { start },
    },
  ],
  ctlogs: [log(ctlog.publicKey, bytesOf(ctlog.logID))],
  timestampAuthorities: [
    {
      subject: { organization: "example", commonName: "example" },
      uri: "https://clock.example",
      certChain: {
        certificates: [tsa.intCertificate, tsa.rootCertificate].map((raw) => ({
          rawBytes: base64(raw),
        })),
      },
      validFor: { start },
    },
  ],
};

writeFileSync(
  new URL("signed.json", import.meta.url),
  `${JSON.stringify(
    {
      digest,
      issuer,
      subject,
      root,
      payload: payload.toString(),
      annotations: {
        "dev.cosignproject.cosign/signature": base64(signature),
        "dev.sigstore.cosign/certificate": who.certificate,
        "dev.sigstore.cosign/bundle": told(await logged(hashed)),
      },
      late: told(await logged(hashed, lateLog)),
      bundle,
      bundleV2,
      attestation: {
        envelope: JSON.stringify(provenance.envelope),
        annotations: {
          "dev.sigstore.cosign/certificate": who.certificate,
          "dev.sigstore.cosign/bundle": told(await logged(provenance.entry)),
        },
      },
    },
    undefined,
    2,
  )}\n`,
);
