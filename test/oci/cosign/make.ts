// Makes signed.json anew: what cosign puts beside an image, in its forms and by its kinds of keys. Nothing of it is needed to run the tests.
//   go install github.com/sigstore/cosign/v2/cmd/cosign@v2.6.1 && node test/oci/cosign/make.ts PATH-OF-COSIGN
import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { openRegistry, packageModule, parseReference, pushImage } from "../../../src/oci/mod.ts";
import { StandInRegistry } from "../../servers/registry.ts";
import { hello } from "../images.ts";

const [cosign = "cosign"] = process.argv.slice(2);
const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "cosign-"));
const environment = { ...process.env, COSIGN_PASSWORD: "", COSIGN_EXPERIMENTAL: "1" };
const plain = [
  "--tlog-upload=false",
  "--allow-http-registry",
  "--allow-insecure-registry",
  "--yes",
];
const forms = {
  tags: [],
  referrers: ["--registry-referrers-mode=oci-1-1"],
  bundle: ["--new-bundle-format"],
} as const;
const pairs = {
  "P-256": () => generateKeyPairSync("ec", { namedCurve: "P-256" }),
  "P-384": () => generateKeyPairSync("ec", { namedCurve: "P-384" }),
  "P-521": () => generateKeyPairSync("ec", { namedCurve: "P-521" }),
  RSA: () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
} as const;
const type = "https://slsa.dev/provenance/v1";
const predicate = join(folder, "predicate.json");
writeFileSync(predicate, '{"builder": {"id": "ours"}}');

await using server = await StandInRegistry.start();
await using registry = openRegistry({ loopback: true });
const packaged = await packageModule(hello, { packaging: "cncf" });
const made: object[] = [];
let digest = "";
try {
  for (const [kind, pair] of Object.entries(pairs)) {
    const { privateKey } = pair();
    const name = join(folder, kind);
    writeFileSync(`${name}.pem`, privateKey.export({ type: "pkcs8", format: "pem" }));
    await run(
      cosign,
      ["import-key-pair", "--key", `${name}.pem`, "--output-key-prefix", name, "--yes"],
      { env: environment },
    );
    for (const [form, words] of Object.entries(forms)) {
      const repository = `${kind.toLowerCase()}-${form}`;
      const reference = parseReference(`${server.host}/${repository}:1`);
      digest = await pushImage(registry, reference, packaged);
      const before = new Set(server.manifests.get(repository)?.keys());
      const image = `${server.host}/${repository}@${digest}`;
      const key = ["--key", `${name}.key`];
      await run(cosign, ["sign", ...key, ...words, ...plain, image], { env: environment });
      // An attestation that refers to its image is always a bundle.
      const attest = form === "referrers" ? [] : [["--predicate", predicate, "--type", type]];
      for (const more of attest) {
        await run(cosign, ["attest", ...key, ...words, ...more, ...plain, image], {
          env: environment,
        });
      }
      const text = (bytes: Buffer): string => bytes.toString();
      const manifests = [...(server.manifests.get(repository) ?? [])].filter(
        // A referrer is there by its digest, the others by their tags.
        ([place]) => !before.has(place) && (place.endsWith(".sig") || place.endsWith(".att") || form !== "tags"), // prettier-ignore
      );
      made.push({
        kind,
        form,
        key: readFileSync(`${name}.pub`, "utf8"),
        manifests: manifests.map(([place, { bytes }]) => ({ place, text: text(bytes) })),
        blobs: [...(server.blobs.get(repository)?.values() ?? [])]
          .filter(
            (bytes) => !packaged.parts.some((part) => Buffer.compare(part.bytes, bytes) === 0),
          ) // prettier-ignore
          .map(text),
      });
    }
  }
  writeFileSync(
    join(import.meta.dirname, "signed.json"),
    `${JSON.stringify({ digest, type, made }, undefined, 2)}\n`,
  );
} finally {
  rmSync(folder, { recursive: true });
}
