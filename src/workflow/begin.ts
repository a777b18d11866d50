import { randomInt, randomUUID } from "node:crypto";
import { isPlaced, type Bundle, type Repository, type Scalar } from "../document/mod.ts";
import { Failure } from "../errors/mod.ts";
import type { StoredArtifact } from "../task/mod.ts";
import type { Claim, Journal } from "./journal/mod.ts";

export interface BeginOptions {
  readonly journal: Journal;
  readonly bundle: Bundle;
  /**
   * Default: `metadata.name`, with five letters added when an ended run has it already; or `metadata.generateName` with five letters, as the
   * API server adds them.
   */
  readonly name?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly artifacts?: Readonly<Record<string, StoredArtifact>>;
  readonly repository?: Repository;
  readonly now?: () => number;
}

/** Begins a run in the journal. Throws `invalid-argument` when an argument is missing, unknown or not allowed. */
export function beginRun(options: BeginOptions): Claim {
  const { journal, bundle } = options;
  const parameters = options.parameters ?? {};
  const artifacts = options.artifacts ?? {};
  checkArguments(bundle, parameters, artifacts);
  const { metadata } = bundle.workflow;
  return journal.create(
    {
      name: options.name ?? freeName(journal, metadata),
      uid: randomUUID(),
      namespace: metadata.namespace ?? "default",
      bundle,
      parameters,
      artifacts,
      ...(options.repository ? { repository: options.repository } : {}),
    },
    Math.trunc((options.now ?? Date.now)()),
  );
}

/** Arguments that the workflow asks for, and no others. */
function checkArguments(
  bundle: Bundle,
  parameters: Readonly<Record<string, string>>,
  artifacts: Readonly<Record<string, StoredArtifact>>,
): void {
  const asked = bundle.workflow.spec.arguments ?? {};
  checkKnown("parameter", Object.keys(parameters), asked.parameters ?? []);
  checkKnown("artifact", Object.keys(artifacts), asked.artifacts ?? []);
  for (const { name, value, default: fallback, valueFrom, enum: allowed } of asked.parameters ??
    []) {
    const given = parameters[name] ?? value ?? fallback;
    if (given !== undefined) checkAllowed(name, String(given), allowed);
    else if (!valueFrom) throw notGiven("parameter", name, `-p ${name}=VALUE`);
  }
  for (const artifact of asked.artifacts ?? []) {
    const { name, optional } = artifact;
    if (artifacts[name] || isPlaced(artifact) || optional) continue;
    throw notGiven("artifact", name, `-a ${name}=PATH`);
  }
}

function checkKnown(
  word: string,
  given: readonly string[],
  asked: readonly { readonly name: string }[],
): void {
  for (const name of given) {
    if (asked.some((item) => item.name === name)) continue;
    const names = asked.map((item) => item.name).join(", ");
    throw new Failure("invalid-argument", `The workflow has no ${word} "${name}"`, {
      hint: names === "" ? `It takes no ${word}s.` : `It takes: ${names}.`,
    });
  }
}

function checkAllowed(name: string, value: string, allowed: readonly Scalar[] | undefined): void {
  if (!allowed || allowed.some((item) => String(item) === value)) return;
  throw new Failure("invalid-argument", `The parameter "${name}" is "${value}"`, {
    hint: `It may be: ${allowed.join(", ")}.`,
  });
}

function notGiven(word: string, name: string, how: string): Failure {
  return new Failure("invalid-argument", `The ${word} "${name}" is not given`, {
    hint: `Give it with ${how}.`,
  });
}

/**
 * A second run of a file must not need a new name each time; but one that was interrupted is to be resumed, so its name
 * is not passed by in silence.
 */
function freeName(journal: Journal, metadata: Bundle["workflow"]["metadata"]): string {
  const { name } = metadata;
  if (name !== undefined) {
    const before = journal.find(name);
    if (!before) return name;
    if (before.finishedAt === undefined) {
      throw new Failure(
        "invalid-argument",
        `The run "${name}" has not ended${before.live ? "" : ": it was interrupted"}`,
        {
          hint: before.live
            ? "Wait for it, or give another name with --name."
            : `Go on with: atalanta resume ${name}, or give another name with --name.`,
        },
      );
    }
  }
  const stem = name === undefined ? (metadata.generateName ?? "workflow-") : `${name}-`;
  for (;;) {
    const candidate = stem + fiveLetters();
    if (!journal.find(candidate)) return candidate;
  }
}

/** Kubernetes' letters for generated names: none that make words or look like another. */
function fiveLetters(): string {
  const letters = "bcdfghjklmnpqrstvwxz2456789";
  return Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join("");
}
