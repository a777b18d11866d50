import { Failure, type Place } from "../errors/mod.ts";
import type { Registry } from "./client.ts";
import type { ImagePolicy } from "./images.ts";
import { formatReference, type Reference } from "./reference.ts";
import { checkSigned, type Statement, type Voucher } from "./signatures.ts";

/** What an operator says of the images whose names fit. */
export interface PolicyRule {
  /** `ghcr.io/acme/*`: a star stands for a part of a name, two for any number of them. */
  readonly match: string;
  readonly deny?: boolean;
  /** Only by digest. */
  readonly pinned?: boolean;
  /** One of them must have signed the image; nobody has to when it is empty. */
  readonly signedBy?: readonly Voucher[];
  /** Each must be there, signed by one of its vouchers or, without any, by one of `signedBy`. */
  readonly attestations?: readonly Attested[];
  /** Where it stands. */
  readonly place?: Place;
}

/** An in-toto attestation that is asked for. */
export interface Attested {
  /** Its predicate's type. */
  readonly type: string;
  readonly signedBy?: readonly Voucher[];
  /** Values that the predicate must have, by path: `buildDefinition.buildType`. */
  readonly where?: ReadonlyMap<string, string>;
}

export interface Policy {
  /** The first that fits counts. */
  readonly rules: readonly PolicyRule[];
  /** For images that no rule fits; default `deny`. */
  readonly otherwise?: "allow" | "deny";
}

/** Checked images; what was signed stays so. */
const remembered = 10_000;

/** The operator's rules as what `Images` asks. */
export function imagePolicy({ rules, otherwise = "deny" }: Policy): ImagePolicy {
  const checked = new Set<string>();
  const found = rules.map((rule) => ({ rule, fits: imagePattern(rule.match) }));
  const ruleOf = (reference: Reference): PolicyRule | undefined => {
    const name = withoutUsualPort(`${reference.registry}/${reference.repository}`);
    return found.find(({ fits }) => fits.test(name))?.rule;
  };
  return {
    checkName(reference) {
      const rule = ruleOf(reference);
      if (!rule) {
        if (otherwise === "allow") return;
        throw refused(reference, "no rule of the policy is for it", undefined);
      }
      if (rule.deny) throw refused(reference, `the policy denies "${rule.match}"`, rule);
      if (rule.pinned && reference.digest === undefined) {
        throw refused(
          reference,
          `the policy wants "${rule.match}" by digest`,
          rule,
          "Write NAME@sha256:DIGEST; atalanta image pull prints it.",
        );
      }
    },
    async checkImage(reference, options) {
      const rule = ruleOf(reference);
      const signedBy = rule?.signedBy ?? [];
      const attestations = rule?.attestations ?? [];
      if (!rule || signedBy.length + attestations.length === 0) return;
      const key = `${formatReference(reference)} ${rules.indexOf(rule)}`;
      if (checked.has(key)) return;
      const signed = (vouchers: readonly Voucher[], kind: "signature" | { type: string }) =>
        checkSigned(reference, { ...options, vouchers, kind });
      try {
        if (signedBy.length > 0) await signed(signedBy, "signature");
        for (const { type, where, signedBy: own = signedBy } of attestations) {
          const statements = await signed(own, { type });
          if (!statements.some((statement) => has(statement, where))) {
            throw new Failure(
              "image-signature",
              `No attestation "${type}" of it says ${[...(where ?? [])].map(([path, value]) => `${path} = ${value}`).join(", ")}`,
            );
          }
        }
      } catch (thrown) {
        if (!(thrown instanceof Failure && thrown.code === "image-signature")) throw thrown;
        throw refused(reference, thrown.message, rule, thrown.hint);
      }
      if (checked.size >= remembered) checked.clear();
      checked.add(key);
    },
  };
}

/** Looks at an image as a rule without name does. */
export async function verifyImage(
  reference: Reference & { readonly digest: string },
  options: {
    readonly registry: Registry;
    readonly signal?: AbortSignal | undefined;
    readonly vouchers: readonly Voucher[];
    readonly attestation?: string;
  },
): Promise<readonly Statement[]> {
  const kind = options.attestation === undefined ? "signature" : { type: options.attestation };
  try {
    return await checkSigned(reference, { ...options, kind });
  } catch (thrown) {
    if (!(thrown instanceof Failure && thrown.code === "image-signature")) throw thrown;
    const { message, hint } = thrown;
    throw new Failure("image-signature", `${formatReference(reference)}: ${message}`, {
      cause: thrown,
      ...(hint === undefined ? {} : { hint }),
    });
  }
}

/** `ghcr.io:443` is `ghcr.io`, and so no way around a rule. */
function withoutUsualPort(name: string): string {
  return name.replace(/^([^/]*):0*443\//, "$1/");
}

/** Throws `invalid-argument` for what is no pattern. */
export function imagePattern(match: string): RegExp {
  if (!/^[a-z0-9.\-_/:*[\]]+$/.test(match)) {
    throw new Failure("invalid-argument", `"${match}" is no pattern for images`, {
      hint: 'Write one such as "ghcr.io/acme/*", without tag and digest.',
    });
  }
  const parts = withoutUsualPort(match)
    .split("/")
    .map((part) => {
      if (part === "**") return ".+";
      return part
        .split("*")
        .map((text) => text.replaceAll(/[.[\]]/g, String.raw`\$&`))
        .join("[^/]*");
    });
  return new RegExp(`^${parts.join("/")}$`);
}

function has({ predicate }: Statement, where: Attested["where"]): boolean {
  return [...(where ?? [])].every(([path, value]) => {
    let found: unknown = predicate;
    for (const part of path.split(".")) {
      found =
        typeof found === "object" && found !== null && Object.hasOwn(found, part)
          ? // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it has it as its own
            (found as Readonly<Record<string, unknown>>)[part]
          : undefined;
    }
    return ["string", "number", "boolean"].includes(typeof found) && String(found) === value;
  });
}

function refused(
  reference: Reference,
  why: string,
  rule: PolicyRule | undefined,
  hint = "Ask whoever keeps the policy, or change its rule.",
): Failure {
  // It is told by the step that it stops, whose place is another one.
  const where = rule?.place ? ` (${rule.place.file}:${rule.place.line})` : "";
  return new Failure(
    "image-policy",
    `${formatReference(reference)} may not run here: ${why}${where}`,
    { hint },
  );
}
