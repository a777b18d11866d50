import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Failure } from "../../src/errors/mod.ts";
import {
  imagePolicy,
  openRegistry,
  packageModule,
  parseReference,
  voucherOf,
  type PolicyRule,
  type Registry,
} from "../../src/oci/mod.ts";
import { digestOf, StandInRegistry } from "../servers/registry.ts";
import { hello, putArtifact } from "./images.ts";
import { envelope, keys, payloadOf, putSignature, putSigned } from "./signing.ts";

const provenance = "https://slsa.dev/provenance/v1";
const dsse = "application/vnd.dsse.envelope.v1+json";

function open(): Registry {
  return openRegistry({ loopback: true, retries: { firstMs: 1, attempts: 2 } });
}

function refused(...words: readonly string[]): (thrown: unknown) => true {
  return (thrown) => {
    assert(thrown instanceof Failure, String(thrown));
    assert.equal(thrown.code, "image-policy", thrown.message);
    for (const word of words) assert.ok(thrown.message.includes(word), thrown.message);
    return true;
  };
}

describe("A policy by names", () => {
  const check = (rules: readonly PolicyRule[], text: string, otherwise?: "allow" | "deny"): void =>
    imagePolicy({ rules, ...(otherwise ? { otherwise } : {}) }).checkName(parseReference(text));
  const digest = `sha256:${"a".repeat(64)}`;

  test("takes the first rule that fits, and denies what none fits", () => {
    const rules = [
      { match: "ghcr.io/acme/secret", deny: true },
      { match: "ghcr.io/acme/*" },
      { match: "docker.io/**", pinned: true },
    ];
    check(rules, "ghcr.io/acme/step:1");
    check(rules, `alpine@${digest}`);
    for (const [name, word] of [
      ["ghcr.io/acme/secret:1", 'denies "ghcr.io/acme/secret"'],
      ["ghcr.io/acme/a/b:1", "no rule"],
      ["ghcr.io/acmes/step:1", "no rule"],
      ["alpine", "by digest"],
      ["ghcr.io.evil.example/acme/step", "no rule"],
    ] as const) {
      assert.throws(() => check(rules, name), refused(word));
    }
    check(rules, "quay.io/a/b", "allow");
  });

  test("knows a registry by its other spellings", () => {
    const rules = [
      { match: "ghcr.io/acme/*", deny: true },
      { match: "docker.io/**", deny: true },
    ];
    for (const name of [
      "GHCR.IO/acme/x",
      "ghcr.io:443/acme/x",
      "ghcr.io:0443/acme/x",
      "index.docker.io/library/a",
      "a",
    ]) {
      assert.throws(() => check(rules, name, "allow"), refused("denies"), name);
    }
    check(rules, "ghcr.io:8443/acme/x", "allow");
    const withPort = [{ match: "ghcr.io:443/acme/*", deny: true }];
    assert.throws(() => check(withPort, "ghcr.io/acme/x", "allow"), refused("denies"));
  });

  test("refuses a pattern that is none", () => {
    for (const match of ["", "a b", "ghcr.io/acme/step@sha256", "(.*)"]) {
      assert.throws(() => imagePolicy({ rules: [{ match }] }), /is no pattern/);
    }
  });
});

describe("A policy by signatures", () => {
  for (const kind of ["ec", "rsa", "ed25519"] as const) {
    test(`takes cosign's signature by a key of ${kind}, and no other one`, async () => {
      await using server = await StandInRegistry.start();
      await using registry = open();
      const pair = keys(kind);
      const good = putArtifact(server, { repository: "a", tag: "1", module: hello });
      const reference = { ...parseReference(`${server.host}/a:1`), digest: good.digest };
      const voucher = voucherOf({ pem: pair.publicPem, name: "ours.pub" });
      const policy = (): ReturnType<typeof imagePolicy> =>
        imagePolicy({ rules: [{ match: "**", signedBy: [voucher] }] });
      const check = (): Promise<void> => policy().checkImage(reference, { registry });
      await assert.rejects(check(), refused('no signature by the key "ours.pub"', "0 are there"));
      putSignature(server, { repository: "a", digest: good.digest, pair: keys(kind) });
      await assert.rejects(check(), refused("another key signed it", "1 are there"));
      const other = `sha256:${"b".repeat(64)}`;
      putSignature(server, {
        repository: "a",
        digest: good.digest,
        pair,
        payload: payloadOf(other),
      });
      await assert.rejects(check(), refused(`it is the signature of ${other}`));
      putSignature(server, { repository: "a", digest: good.digest, pair });
      await check();
    });
  }

  test("takes an attestation with what it must say, by a key that counts", async () => {
    await using server = await StandInRegistry.start();
    await using registry = open();
    const pair = keys("ec");
    const image = putArtifact(server, { repository: "a", tag: "1", module: hello });
    const reference = { ...parseReference(`${server.host}/a:1`), digest: image.digest };
    const attest = (predicate: object, by = pair, type = provenance): void =>
      putSigned(server, {
        repository: "a",
        tag: `${image.digest.replace(":", "-")}.att`,
        layers: [
          {
            mediaType: dsse,
            bytes: envelope(image.digest, { predicateType: type, predicate, pair: by }),
          },
        ],
      });
    const voucher = voucherOf({ pem: pair.publicPem, name: "ours.pub" });
    const check = (): Promise<void> =>
      imagePolicy({
        rules: [
          {
            match: "**",
            attestations: [
              { type: provenance, signedBy: [voucher], where: new Map([["build.type", "ours"]]) },
            ],
          },
        ],
      }).checkImage(reference, { registry });
    await assert.rejects(check(), refused(`no attestation "${provenance}"`));
    attest({ build: { type: "ours" } }, keys("ec"));
    await assert.rejects(check(), refused("another key signed it"));
    attest({ build: { type: "ours" } }, pair, "https://example.com/other");
    await assert.rejects(check(), refused(`no attestation "${provenance}"`));
    attest({ build: { type: "theirs" } });
    await assert.rejects(check(), refused("says build.type = ours"));
    attest({ build: { type: "ours" } });
    await check();
  });

  test("takes a signature that refers to the image, as a bundle by key", async () => {
    await using server = await StandInRegistry.start();
    await using registry = open();
    const pair = keys("ec");
    const image = putArtifact(server, { repository: "a", tag: "1", module: hello });
    const bundle = {
      mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
      verificationMaterial: { publicKey: { hint: "x" }, tlogEntries: [] },
      dsseEnvelope: JSON.parse(
        envelope(image.digest, {
          predicateType: "https://sigstore.dev/cosign/sign/v1",
          predicate: {},
          pair,
        }).toString(),
      ) as object,
    };
    putSigned(server, {
      repository: "a",
      layers: [{ mediaType: bundle.mediaType, bytes: Buffer.from(JSON.stringify(bundle)) }],
      subject: image,
    });
    const reference = { ...parseReference(`${server.host}/a:1`), digest: image.digest };
    const rule = (by: string): PolicyRule => ({
      match: "**",
      signedBy: [voucherOf({ pem: by, name: "k" })],
    });
    await imagePolicy({ rules: [rule(pair.publicPem)] }).checkImage(reference, { registry });
    await assert.rejects(
      imagePolicy({ rules: [rule(keys("ec").publicPem)] }).checkImage(reference, { registry }),
      refused("another key signed it"),
    );
  });

  test("is not led astray by what a registry says", async () => {
    await using server = await StandInRegistry.start();
    await using registry = open();
    const pair = keys("ec");
    const { digest } = putArtifact(server, { repository: "a", tag: "1", module: hello });
    const reference = { ...parseReference(`${server.host}/a:1`), digest };
    const tag = `${digest.replace(":", "-")}.sig`;
    const voucher = voucherOf({ pem: pair.publicPem, name: "k" });
    const type = "application/vnd.dev.cosign.simplesigning.v1+json";
    for (const layers of [
      [{ mediaType: type, bytes: Buffer.from("no json"), annotations: {} }],
      [
        {
          mediaType: type,
          bytes: Buffer.alloc(100_000, " "),
          annotations: { "dev.cosignproject.cosign/signature": "AAAA" },
        },
      ],
      [
        {
          mediaType: type,
          bytes: payloadOf(digest),
          annotations: { "dev.cosignproject.cosign/signature": "not base64!" },
        },
      ],
      [{ mediaType: dsse, bytes: Buffer.from('{"payload": 1, "signatures": [null]}') }],
      [{ mediaType: dsse, bytes: Buffer.from("[".repeat(10_000)) }],
    ]) {
      putSigned(server, { repository: "a", tag, layers });
      await assert.rejects(
        imagePolicy({ rules: [{ match: "**", signedBy: [voucher] }] }).checkImage(reference, {
          registry,
        }),
        refused("no signature"),
      );
    }
  });
});

describe("A policy by identities", () => {
  const fixture = JSON.parse(
    readFileSync(join(import.meta.dirname, "keyless/signed.json"), "utf8"),
  ) as {
    readonly digest: string;
    readonly issuer: string;
    readonly subject: string;
    readonly root: object;
    readonly payload: string;
    readonly annotations: Readonly<Record<string, string>>;
    readonly bundle: { readonly mediaType: string };
  };
  const { digest, issuer, subject } = fixture;
  const root = JSON.stringify(fixture.root);
  const simple = "application/vnd.dev.cosign.simplesigning.v1+json";
  const tag = `${digest.replace(":", "-")}.sig`;
  const asAnnotations = (annotations = fixture.annotations): Parameters<typeof putSigned>[1] => ({
    repository: "a",
    tag,
    layers: [{ mediaType: simple, bytes: Buffer.from(fixture.payload), annotations }],
  });
  const asBundle = (bundle: object = fixture.bundle): Parameters<typeof putSigned>[1] => ({
    repository: "a",
    tag,
    layers: [{ mediaType: fixture.bundle.mediaType, bytes: Buffer.from(JSON.stringify(bundle)) }],
  });

  const check = async (
    put: Parameters<typeof putSigned>[1],
    voucher: Parameters<typeof voucherOf>[0] = { root, issuer, subject },
  ): Promise<void> => {
    await using server = await StandInRegistry.start();
    await using registry = open();
    putSigned(server, put);
    const reference = { ...parseReference(`${server.host}/a:1`), digest };
    await imagePolicy({ rules: [{ match: "**", signedBy: [voucherOf(voucher)] }] }).checkImage(
      reference,
      { registry },
    );
  };

  test("the committed signatures are of the image that is made today", async () => {
    const { manifest } = await packageModule(hello, { packaging: "cncf" });
    assert.equal(digestOf(manifest.bytes), digest, "run test/oci/keyless/make.mjs");
  });

  for (const [form, put] of [
    ["cosign 2's annotations", asAnnotations],
    ["a bundle", asBundle],
  ] as const) {
    test(`takes ${form} by who is named, without asking anybody`, async () => {
      await check(put());
      await check(put(), { root, issuer, subjectRegExp: "https://builds\\.example/acme/.*" });
    });

    test(`refuses ${form} of another signer, issuer or root`, async () => {
      await assert.rejects(
        check(put(), { root, issuer, subject: `${subject}x` }),
        refused(`signed by "${subject}"`),
      );
      // All of a subject must fit.
      await assert.rejects(
        check(put(), { root, issuer, subjectRegExp: "https://builds" }),
        refused("no signature"),
      );
      await assert.rejects(
        check(put(), { root, issuer: "https://other.example", subject }),
        refused(`one of "${issuer}"`),
      );
      for (const key of ["certificateAuthorities", "tlogs", "ctlogs"]) {
        const less = JSON.stringify({ ...fixture.root, [key]: [] });
        await assert.rejects(
          check(put(), { root: less, issuer, subject }),
          refused("no signature"),
        );
      }
    });
  }

  test("refuses one that was changed", async () => {
    const log = JSON.parse(fixture.annotations["dev.sigstore.cosign/bundle"] ?? "") as {
      readonly Payload: { readonly integratedTime: number };
    };
    const later = {
      ...log,
      Payload: { ...log.Payload, integratedTime: log.Payload.integratedTime + 1 },
    };
    for (const change of [
      { "dev.sigstore.cosign/bundle": JSON.stringify(later) },
      { "dev.sigstore.cosign/bundle": "{}" },
      { "dev.sigstore.cosign/certificate": "no certificate" },
      { "dev.cosignproject.cosign/signature": Buffer.from("x").toString("base64") },
    ]) {
      await assert.rejects(
        check(asAnnotations({ ...fixture.annotations, ...change })),
        refused("no signature"),
      );
    }
    const text = JSON.stringify(fixture.bundle);
    for (const part of ["canonicalizedBody", "signedEntryTimestamp", "sig", "rawBytes"]) {
      const changed = text.replace(new RegExp(`("${part}":"M?)(.)`), (_, before: string, first: string) => `${before}${first === "A" ? "B" : "A"}`); // prettier-ignore
      assert.notEqual(changed, text);
      await assert.rejects(
        check(asBundle(JSON.parse(changed) as object)),
        refused("no signature"),
        part,
      );
    }
  });
});
