import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { Failure } from "../errors/mod.ts";
import { readOperatorFile } from "./configuration.ts";
import { openUserRegistry, registryOptions, type RegistryFlags } from "./images.ts";
import { interrupted } from "./interrupt.ts";
import { collect } from "./options.ts";
import { escaped, printable } from "./text.ts";

interface Options extends RegistryFlags {
  readonly key: readonly string[];
  readonly root?: string;
  readonly issuer?: string;
  readonly subject?: string;
  readonly subjectRegexp?: string;
  readonly attestation?: string;
  readonly json?: boolean;
}

/** `atalanta image verify REFERENCE` */
export function addImageVerify(image: Command): void {
  const command = image
    .command("verify")
    .description("Check who signed an image; nothing is asked but its registry")
    .argument("<reference>", "such as ghcr.io/acme/step:1.2")
    .option(
      "--key <file>",
      "a public key whose holder's signature counts, such as cosign.pub (repeatable)",
      collect,
      [],
    )
    .option("--root <file>", "for signatures without a key: the sigstore's trusted_root.json")
    .option("--issuer <url>", "who told the sigstore who the signer is")
    .option("--subject <name>", "who signed, as the certificate has it")
    .option("--subject-regexp <expression>", "the same as an expression that fits all of it")
    .option(
      "--attestation <type>",
      "look for an in-toto attestation with this type of predicate instead",
    );
  registryOptions(command)
    .option("--json", "one line of JSON for each signature or attestation")
    .addHelpText(
      "after",
      `
Without --key and --root the policy of the operator's configuration (--config) is applied.

Examples:
  atalanta image verify --key cosign.pub ghcr.io/acme/step:1.2
  atalanta image verify --key cosign.pub --attestation https://slsa.dev/provenance/v1 ghcr.io/acme/step:1.2

Exit codes: 0 it is signed, 1 it is not, or cannot be had, 2 wrong usage.`,
    )
    .action(async (text: string, options: Options) => {
      const { formatReference, imagePolicy, parseReference, verifyImage, voucherOf } =
        await import("../oci/mod.ts");
      const named = parseReference(text);
      const { key, root, issuer, subject, subjectRegexp: subjectRegExp } = options;
      const vouchers = await Promise.all(
        key.map(async (file) => voucherOf({ pem: await read(file), name: file })),
      );
      if (
        root !== undefined ||
        issuer !== undefined ||
        subject !== undefined ||
        subjectRegExp !== undefined
      ) {
        vouchers.push(
          voucherOf({
            ...(root === undefined ? {} : { root: await read(root) }),
            issuer,
            subject,
            subjectRegExp,
          }),
        );
      }
      const { policy } = await readOperatorFile(options.config);
      if (vouchers.length === 0 && !policy) {
        throw new Failure("invalid-argument", "Nobody is named whose signature counts", {
          hint: "Give --key FILE, or --root, --issuer and --subject, or a configuration with a policy.",
        });
      }
      await using registry = await openUserRegistry(options);
      const digest = await registry.resolve(named, { signal: interrupted });
      const reference = { ...named, digest };
      const said = formatReference(reference);
      if (vouchers.length === 0 && policy) {
        const rules = imagePolicy(policy);
        rules.checkName(named);
        await rules.checkImage(reference, { registry, signal: interrupted });
        process.stdout.write(
          options.json
            ? `${escaped(JSON.stringify({ reference: said, digest, policy: "allowed" }))}\n`
            : `${said}: the policy allows it\n`,
        );
        return;
      }
      const found = await verifyImage(reference, {
        registry,
        vouchers,
        signal: interrupted,
        ...(options.attestation === undefined ? {} : { attestation: options.attestation }),
      });
      for (const { predicateType, predicate, by } of found) {
        const what = options.attestation === undefined ? "signed" : `attested (${predicateType})`;
        const line = options.json
          ? escaped(JSON.stringify({ reference: said, digest, by, predicateType, predicate }))
          : printable(`${said}: ${what} by ${by}`);
        process.stdout.write(`${line}\n`);
      }
    });
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `Cannot read "${file}": ${reason}`, { cause });
  }
}
