import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Failure } from "../../src/errors/mod.ts";
import { openRegistry, parseReference, verifyImage, voucherOf } from "../../src/oci/mod.ts";
import { StandInRegistry } from "../servers/registry.ts";
import { envelope, keys, putSignature, putSigned } from "./signing.ts";

const simple = "application/vnd.dev.cosign.simplesigning.v1+json";
const dsse = "application/vnd.dsse.envelope.v1+json";
const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json";
const provenance = "https://slsa.dev/provenance/v1";

interface Bundle {
  readonly verificationMaterial: {
    readonly certificate: object;
    readonly tlogEntries: readonly object[];
  };
}

/** By keyless/make.mjs. */
const fixture = JSON.parse(
  readFileSync(join(import.meta.dirname, "keyless/signed.json"), "utf8"),
) as {
  readonly digest: string;
  readonly issuer: string;
  readonly subject: string;
  readonly root: object;
  readonly payload: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly late: string;
  readonly bundle: Bundle;
  readonly bundleV2: Bundle;
  readonly attestation: {
    readonly envelope: string;
    readonly annotations: Readonly<Record<string, string>>;
  };
};
const { digest, issuer, subject } = fixture;
const root = JSON.stringify(fixture.root);
const nobody = voucherOf({ root, issuer, subject });
const tag = (suffix: string): string => `${digest.replace(":", "-")}.${suffix}`;

type Put = (server: StandInRegistry) => void;

const asBundle =
  (bundle: object): Put =>
  (server) => {
    const layers = [{ mediaType: bundleType, bytes: Buffer.from(JSON.stringify(bundle)) }];
    putSigned(server, { repository: "a", layers, subject: { digest, size: 1 } });
  };

/** Puts signatures into a registry, and tells who signed. */
async function verify(
  put: Put,
  voucher = nobody,
  attestation?: string,
): Promise<readonly unknown[]> {
  await using server = await StandInRegistry.start();
  await using registry = openRegistry({ loopback: true, retries: { firstMs: 1, attempts: 2 } });
  put(server);
  const found = await verifyImage(
    { ...parseReference(`${server.host}/a:1`), digest },
    { registry, vouchers: [voucher], ...(attestation === undefined ? {} : { attestation }) },
  );
  return found.map(({ predicate }) => predicate);
}

function refused(word: string): (thrown: unknown) => true {
  return (thrown) => {
    assert(thrown instanceof Failure, String(thrown));
    assert.equal(thrown.code, "image-signature", thrown.message);
    assert.ok(thrown.message.includes(word), thrown.message);
    return true;
  };
}

describe("Signatures without a key", () => {
  test("count when the certificate was good at the time of the log", async () => {
    const put =
      (log: string): Put =>
      (server) => {
        const annotations = { ...fixture.annotations, "dev.sigstore.cosign/bundle": log };
        const layers = [{ mediaType: simple, bytes: Buffer.from(fixture.payload), annotations }];
        putSigned(server, { repository: "a", tag: tag("sig"), layers });
      };
    await verify(put(fixture.annotations["dev.sigstore.cosign/bundle"] ?? ""));
    await assert.rejects(verify(put(fixture.late)), refused("certificate"));
  });

  test("count when another clock told the time, as with a log that tells none", async () => {
    await verify(asBundle(fixture.bundleV2));
    const { timestampAuthorities: _, ...less } = fixture.root as Record<string, unknown>;
    const withoutClock = voucherOf({ root: JSON.stringify(less), issuer, subject });
    await assert.rejects(verify(asBundle(fixture.bundleV2), withoutClock), refused("timestamp"));
    const { certificate, tlogEntries } = fixture.bundleV2.verificationMaterial;
    await assert.rejects(
      verify(asBundle({ ...fixture.bundleV2, verificationMaterial: { certificate, tlogEntries } })),
      refused("timestamps"),
    );
  });

  test("do not count without a log", async () => {
    const { certificate } = fixture.bundle.verificationMaterial;
    await assert.rejects(
      verify(asBundle({ ...fixture.bundle, verificationMaterial: { certificate } })),
      refused("timestamps"),
    );
  });

  test("attest what the predicate says", async () => {
    const { envelope: text, annotations } = fixture.attestation;
    const put: Put = (server) => {
      const layers = [{ mediaType: dsse, bytes: Buffer.from(text), annotations }];
      putSigned(server, { repository: "a", tag: tag("att"), layers });
    };
    assert.deepEqual(await verify(put, nobody, provenance), [{ builder: { id: "ours" } }]);
    await assert.rejects(verify(put, nobody, "https://spdx.dev/Document"), refused("1 are there"));
    await assert.rejects(verify(put), refused("no signature"));
  });

  test("do not lend their proofs to another content of the bundle", async () => {
    const forged = {
      ...fixture.bundle,
      messageSignature: {
        messageDigest: { algorithm: "SHA2_256", digest: "AAAA" },
        signature: "AAAA",
      },
    };
    await assert.rejects(verify(asBundle(forged)), refused("more than one content"));
    const { certificate, tlogEntries } = fixture.bundle.verificationMaterial;
    const byKey = {
      ...fixture.bundle,
      verificationMaterial: { publicKey: { hint: "x" }, certificate, tlogEntries },
    };
    await assert.rejects(verify(asBundle(byKey)), refused("no signature"));
  });

  test("cost no time however many proofs a bundle has", async () => {
    const { certificate, tlogEntries } = fixture.bundle.verificationMaterial;
    const [entry = {}] = tlogEntries;
    const small = { ...entry, inclusionProof: { checkpoint: {} }, canonicalizedBody: "" };
    const many = (count: number): object => ({
      ...fixture.bundle,
      verificationMaterial: {
        certificate,
        tlogEntries: Array.from({ length: count }, (_, index) => ({
          ...small,
          integratedTime: String(index + 1),
        })),
      },
    });
    const startMs = performance.now();
    await assert.rejects(verify(asBundle(many(30_000))), refused("no signature"));
    assert.ok(performance.now() - startMs < 5000, "comparing them in pairs takes minutes");
    await assert.rejects(verify(asBundle(many(9))), refused("9 proofs of a kind"));
    await assert.rejects(verify(asBundle(many(8))), refused("no signature"));
    const long = { ...entry, canonicalizedBody: "A".repeat(300_000) };
    await assert.rejects(
      verify(
        asBundle({
          ...fixture.bundle,
          verificationMaterial: { certificate, tlogEntries: [long] },
        }),
      ),
      refused("bytes of proofs"),
    );
  });

  test("cost no stack however deep a bundle is", async () => {
    const deep = `${"[".repeat(1_000_000)}${"]".repeat(1_000_000)}`;
    const text = JSON.stringify(fixture.bundle).replace('"tlogEntries":', `"x":${deep},$&`);
    const put: Put = (server) => {
      const layers = [{ mediaType: bundleType, bytes: Buffer.from(text) }];
      putSigned(server, { repository: "a", layers, subject: { digest, size: 1 } });
    };
    await assert.rejects(verify(put), refused("brackets is no envelope"));
  });
});

describe("Signatures beside others", () => {
  const pair = keys("ec");
  const ours = voucherOf({ pem: pair.publicPem, name: "ours.pub" });
  const signed: Put = (server) => putSignature(server, { repository: "a", digest, pair });

  test("count although broken ones lie there, and those are told where none counts", async () => {
    const manifest = (server: StandInRegistry, layers: readonly unknown[]): unknown =>
      server.putManifest(
        "a",
        undefined,
        Buffer.from(
          JSON.stringify({
            schemaVersion: 2,
            mediaType: "application/vnd.oci.image.manifest.v1+json",
            config: { mediaType: "application/vnd.oci.empty.v1+json", digest, size: 2 },
            layers,
            subject: { mediaType: "application/vnd.oci.image.manifest.v1+json", digest, size: 1 },
          }),
        ),
      );
    const broken: Put = (server) => {
      const blob = server.putBlob("a", Buffer.from("{}"));
      manifest(server, [{ mediaType: dsse, digest: `sha256:${"0".repeat(64)}`, size: 3 }]);
      manifest(server, [{ mediaType: dsse, ...blob, size: 1 }]);
      manifest(server, [{ mediaType: dsse, ...blob, size: 1e12 }]);
      manifest(server, [{ mediaType: dsse, ...blob, size: -1 }]);
      manifest(server, [{ mediaType: dsse, digest: "sha256:../..", size: 2 }]);
      manifest(server, [null, { mediaType: simple, ...blob }]);
    };
    await assert.rejects(verify(broken, ours), refused("1000000000000 bytes is too large"));
    await verify((server) => {
      broken(server);
      signed(server);
    }, ours);
  });

  test("are looked at up to a number, whatever a registry lists", async () => {
    const many: Put = (server) => {
      const other = keys("ec");
      for (let index = 0; index < 60; index++) {
        const bytes = envelope(digest, { predicateType: provenance, predicate: { index }, pair: other }); // prettier-ignore
        putSigned(server, {
          repository: "a",
          layers: [{ mediaType: dsse, bytes }],
          subject: { digest, size: 1 },
        });
      }
    };
    await assert.rejects(verify(many, ours), refused("50 are there (another key signed it)"));
    await verify((server) => {
      many(server);
      signed(server);
    }, ours);
  });

  test("do not count when the registry cannot say whether there are any", async () => {
    const put: Put = (server) => {
      server.options = { fault: () => ({ kind: "answer", status: 500 }) };
    };
    await assert.rejects(verify(put, ours), (thrown: unknown) => {
      assert(thrown instanceof Failure);
      return thrown.code === "registry-unavailable";
    });
  });
});
