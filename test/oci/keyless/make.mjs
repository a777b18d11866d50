// Makes signed.json anew: signatures without a key, by a sigstore that lives for this one run. Nothing of it is needed to run the tests.
//   npm install --no-save @sigstore/mock@0.12.1 && node test/oci/keyless/make.mjs
import { createHash, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { packageModule } from "../../../src/oci/mod.ts";
import { initializeCA, initializeCTLog, initializeTLog } from "@sigstore/mock";

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

async function logged(entry) {
  const [found] = Object.values(await tlog.log(entry));
  return found;
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
const entry = await logged({
  apiVersion: "0.0.1",
  kind: "hashedrekord",
  spec: {
    data: { hash: { algorithm: "sha256", value: sha256(payload).toString("hex") } },
    signature: { content: base64(signature), publicKey: { content: base64(who.certificate) } },
  },
});

// The newer form: a statement in an envelope, all of it in one bundle.
const statement = Buffer.from(
  JSON.stringify({
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ digest: { sha256: digest.slice(7) } }],
    predicateType: "https://sigstore.dev/cosign/sign/v1",
    predicate: {},
  }),
);
const payloadType = "application/vnd.in-toto+json";
const enveloped = who.sign(
  Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${statement.length} `),
    statement,
  ]),
);
const envelope = {
  payload: base64(statement),
  payloadType,
  signatures: [{ sig: base64(enveloped), keyid: "" }],
};
const other = await logged({
  apiVersion: "0.0.1",
  kind: "dsse",
  spec: {
    envelopeHash: { algorithm: "sha256", value: sha256(JSON.stringify(envelope)).toString("hex") },
    payloadHash: { algorithm: "sha256", value: sha256(statement).toString("hex") },
    signatures: [{ signature: base64(enveloped), verifier: base64(who.certificate) }],
  },
});
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
  timestampAuthorities: [],
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
        "dev.sigstore.cosign/bundle": JSON.stringify({
          SignedEntryTimestamp: entry.verification.signedEntryTimestamp,
          Payload: {
            body: entry.body,
            integratedTime: entry.integratedTime,
            logIndex: entry.logIndex,
            logID: entry.logID,
          },
        }),
      },
      bundle,
    },
    undefined,
    1,
  )}\n`,
);
