import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { openRegistry, parseReference, verifyImage, voucherOf } from "../../src/oci/mod.ts";
import { StandInRegistry } from "../servers/registry.ts";
import { keys } from "./signing.ts";

/** Made by cosign itself (cosign/make.ts). */
const { digest, type, made } = JSON.parse(
  readFileSync(join(import.meta.dirname, "cosign/signed.json"), "utf8"),
) as {
  readonly digest: string;
  readonly type: string;
  readonly made: readonly {
    readonly kind: string;
    readonly form: string;
    readonly key: string;
    readonly manifests: readonly { readonly place: string; readonly text: string }[];
    readonly blobs: readonly string[];
  }[];
};

describe("What cosign signed", () => {
  for (const { kind, form, key, manifests, blobs } of made) {
    test(`counts by its key of ${kind}, as ${form}, and by no other`, async () => {
      await using server = await StandInRegistry.start();
      await using registry = openRegistry({ loopback: true });
      for (const blob of blobs) server.putBlob("a", Buffer.from(blob));
      for (const { place, text } of manifests) {
        const tag = place.startsWith("sha256:") ? undefined : place;
        server.putManifest("a", tag, Buffer.from(text));
      }
      const reference = { ...parseReference(`${server.host}/a:1`), digest };
      const check = (pem: string, attestation?: string): ReturnType<typeof verifyImage> =>
        verifyImage(reference, {
          registry,
          vouchers: [voucherOf({ pem, name: "cosign.pub" })],
          ...(attestation === undefined ? {} : { attestation }),
        });
      assert.equal((await check(key)).length, 1);
      await assert.rejects(check(keys("ec").publicPem), /another key signed it/);
      if (form === "referrers") return;
      const [{ predicate } = {}] = await check(key, type);
      assert.deepEqual(predicate, { builder: { id: "ours" } });
      await assert.rejects(check(keys("ec").publicPem, type), /another key signed it/);
    });
  }
});
