import { generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import type { StandInRegistry } from "../servers/registry.ts";
import { putImage } from "./images.ts";

export interface Pair {
  readonly publicPem: string;
  readonly privateKey: KeyObject;
}

/** Keys of the kinds that cosign takes. */
export function keys(kind: "ec" | "rsa" | "ed25519"): Pair {
  const { publicKey, privateKey } =
    kind === "ec"
      ? generateKeyPairSync("ec", { namedCurve: "P-256" })
      : kind === "rsa"
        ? generateKeyPairSync("rsa", { modulusLength: 2048 })
        : generateKeyPairSync("ed25519");
  return { publicPem: publicKey.export({ type: "spki", format: "pem" }), privateKey };
}

function signed(bytes: Buffer, key: KeyObject): Buffer {
  return sign(key.asymmetricKeyType === "ed25519" ? null : "sha256", bytes, key);
}

/** What cosign signs of an image. */
export function payloadOf(digest: string, reference = "example"): Buffer {
  return Buffer.from(
    JSON.stringify({
      critical: {
        identity: { "docker-reference": reference },
        image: { "docker-manifest-digest": digest },
        type: "cosign container image signature",
      },
      optional: null,
    }),
  );
}

/** Puts a signature by key beside an image, as `cosign sign --key` does. */
export function putSignature(
  server: StandInRegistry,
  {
    repository,
    digest,
    pair,
    payload = payloadOf(digest),
    more = {},
  }: {
    readonly repository: string;
    readonly digest: string;
    readonly pair: Pair;
    readonly payload?: Buffer;
    readonly more?: object;
  },
): void {
  putSigned(server, {
    repository,
    tag: `${digest.replace(":", "-")}.sig`,
    layers: [
      {
        mediaType: "application/vnd.dev.cosign.simplesigning.v1+json",
        bytes: payload,
        annotations: {
          "dev.cosignproject.cosign/signature": signed(payload, pair.privateKey).toString("base64"),
          ...more,
        },
      },
    ],
  });
}

/** An in-toto statement in an envelope that is signed (DSSE). */
export function envelope(
  digest: string,
  {
    predicateType,
    predicate,
    pair,
  }: { readonly predicateType: string; readonly predicate: object; readonly pair: Pair },
): Buffer {
  const payload = Buffer.from(
    JSON.stringify({
      _type: "https://in-toto.io/Statement/v1",
      subject: [{ name: "it", digest: { sha256: digest.split(":")[1] } }],
      predicateType,
      predicate,
    }),
  );
  const payloadType = "application/vnd.in-toto+json";
  const before = Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `),
    payload,
  ]);
  const sig = signed(before, pair.privateKey).toString("base64");
  return Buffer.from(
    JSON.stringify({
      payloadType,
      payload: payload.toString("base64"),
      signatures: [{ sig, keyid: "" }],
    }),
  );
}

/** Puts a manifest whose layers have annotations. */
export function putSigned(
  server: StandInRegistry,
  {
    repository,
    tag,
    layers,
    subject,
  }: {
    readonly repository: string;
    readonly tag?: string;
    readonly layers: readonly {
      readonly mediaType: string;
      readonly bytes: Buffer;
      readonly annotations?: object;
    }[];
    readonly subject?: { readonly digest: string; readonly size: number };
  },
): void {
  const parts = layers.map(({ bytes, mediaType, annotations }) => ({
    mediaType,
    ...server.putBlob(repository, bytes),
    ...(annotations ? { annotations } : {}),
  }));
  putImage(server, {
    repository,
    ...(tag === undefined ? {} : { tag }),
    config: {},
    layers: [],
    more: {
      layers: parts,
      ...(subject
        ? { subject: { mediaType: "application/vnd.oci.image.manifest.v1+json", ...subject } }
        : {}),
    },
  });
}
