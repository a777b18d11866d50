import { dirname, resolve } from "node:path";
import { isMap } from "yaml";
import { Failure } from "../errors/mod.ts";
import type { Attested, Policy, PolicyRule, Voucher } from "../oci/mod.ts";
import { readSmall, type Reader } from "./reader.ts";

/** Which modules may run here. */
export interface OperatorPolicy extends Policy {
  /** Module files that a workflow names, or that `atalanta.yaml` beside it gives for an image: no registry and no signature speaks for them. */
  readonly files: "allow" | "deny";
  /** Container steps: their runtime pulls what it runs. */
  readonly containers: "allow" | "deny";
}

const keyBytes = 64 * 1024;
const rootBytes = 4 * 1024 * 1024;

/** Reads `policy:` of the operator's configuration, with the keys and roots that it names. */
export async function readPolicy(
  reader: Reader,
  node: unknown,
  path: string,
): Promise<OperatorPolicy> {
  const parts = reader.mapping(node, "policy", ["containers", "files", "images", "otherwise"]);
  const word = (key: string, usual: "allow" | "deny"): "allow" | "deny" => {
    const value = parts.get(key);
    if (value === undefined) return usual;
    const said = reader.text(value, `policy.${key}`);
    if (said === "allow" || said === "deny") return said;
    throw reader.wrong(value, `policy.${key} is "${said}"`, "Write allow or deny.");
  };
  const rules: PolicyRule[] = [];
  for (const item of reader.list(parts.get("images"), "policy.images")) {
    rules.push(await rule(reader, item, { label: `policy.images[${rules.length}]`, path }));
  }
  const otherwise = word("otherwise", "deny");
  return {
    rules,
    otherwise,
    files: word("files", otherwise),
    containers: word("containers", otherwise),
  };
}

interface At {
  readonly label: string;
  readonly path: string;
}

async function rule(reader: Reader, node: unknown, at: At): Promise<PolicyRule> {
  const { label } = at;
  const known = ["attestations", "deny", "match", "pinned", "signedBy"];
  const parts = reader.mapping(node, label, known);
  const match = reader.text(parts.get("match") ?? node, `${label}.match`);
  const { imagePattern } = await import("../oci/mod.ts");
  reader.checked(parts.get("match"), `${label}.match`, () => imagePattern(match));
  const deny = reader.flag(parts.get("deny"), `${label}.deny`);
  const pinned = reader.flag(parts.get("pinned"), `${label}.pinned`);
  const attestations: Attested[] = [];
  for (const item of reader.list(parts.get("attestations"), `${label}.attestations`)) {
    attestations.push(
      await attested(reader, item, {
        ...at,
        label: `${label}.attestations[${attestations.length}]`,
      }),
    );
  }
  const signedBy = await vouchers(reader, parts.get("signedBy"), {
    ...at,
    label: `${label}.signedBy`,
  });
  const unsigned = attestations.find((one) => (one.signedBy ?? signedBy).length === 0);
  if (unsigned) {
    throw reader.wrong(
      parts.get("attestations"),
      `${label}: nobody is named whose attestation "${unsigned.type}" counts`,
      "Name keys or identities under signedBy, here or of the rule.",
    );
  }
  return {
    match,
    ...(deny === undefined ? {} : { deny }),
    ...(pinned === undefined ? {} : { pinned }),
    signedBy,
    attestations,
    place: reader.place(node),
  };
}

async function attested(reader: Reader, node: unknown, at: At): Promise<Attested> {
  const { label } = at;
  const parts = reader.mapping(node, label, ["signedBy", "type", "where"]);
  const where = new Map<string, string>();
  for (const [path, value] of reader.mapping(parts.get("where"), `${label}.where`)) {
    where.set(path, reader.text(value, `${label}.where.${path}`));
  }
  return {
    type: reader.text(parts.get("type") ?? node, `${label}.type`),
    ...(parts.has("signedBy")
      ? {
          signedBy: await vouchers(reader, parts.get("signedBy"), {
            ...at,
            label: `${label}.signedBy`,
          }),
        }
      : {}),
    where,
  };
}

async function vouchers(
  reader: Reader,
  node: unknown,
  { label, path }: At,
): Promise<readonly Voucher[]> {
  const found: Voucher[] = [];
  for (const item of reader.list(node, label)) {
    const name = `${label}[${found.length}]`;
    if (!isMap(item)) {
      throw reader.wrong(
        item,
        `${name} is no mapping`,
        "Write key: FILE, or issuer:, subject: and root:.",
      );
    }
    const parts = reader.mapping(item, name, ["issuer", "key", "root", "subject", "subjectRegExp"]);
    const text = (key: string): string | undefined => {
      const part = parts.get(key);
      return part === undefined ? undefined : reader.text(part, `${name}.${key}`);
    };
    const file = async (key: string, most: number): Promise<string | undefined> => {
      const named = text(key);
      if (named === undefined) return undefined;
      return (await readSmall(resolve(dirname(path), named), most, `${name}.${key}`)).toString();
    };
    const pem = await file("key", keyBytes);
    const root = await file("root", rootBytes);
    const given = {
      ...(pem === undefined ? {} : { pem, name: text("key") ?? "" }),
      ...(root === undefined ? {} : { root }),
    };
    const more = {
      issuer: text("issuer"),
      subject: text("subject"),
      subjectRegExp: text("subjectRegExp"),
    };
    const { voucherOf } = await import("../oci/mod.ts");
    found.push(reader.checked(item, name, () => voucherOf({ ...given, ...more })));
  }
  return found;
}

/** Throws for a module file that the operator did not name, where the policy wants none. */
export function checkFile(policy: OperatorPolicy | undefined, file: string): void {
  if (policy?.files !== "deny") return;
  throw new Failure(
    "image-policy",
    `The module file "${file}" may not run here: the policy wants images from registries`,
    {
      hint: "Push it (atalanta image push) and name the image, or give --image REFERENCE=FILE yourself; files: allow in the policy allows all.",
    },
  );
}

/** Throws when a workflow has container steps, and the policy wants none. */
export function checkContainers(policy: OperatorPolicy | undefined): void {
  if (policy?.containers !== "deny") return;
  throw new Failure(
    "image-policy",
    "The workflow has container steps, which may not run here: the policy does not reach their images",
    { hint: "Run them as Wasm, or say containers: allow in the policy." },
  );
}
