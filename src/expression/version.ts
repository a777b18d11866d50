import { fault } from "./failure.ts";

const pattern =
  /^v?(\d{1,15})(?:\.(\d{1,15}))?(?:\.(\d{1,15}))?(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?$/u;

/** A version as sprig's `semver` reads it: a `v` may stand before it, and minor and patch may be missing. */
export class Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  readonly prerelease: string;
  readonly metadata: string;
  readonly original: string;

  constructor(text: string) {
    const found = pattern.exec(text.slice(0, 300));
    if (found === null) throw fault(`"${text.slice(0, 100)}" is no semantic version`);
    const [, major, minor = "0", patch = "0", prerelease = "", metadata = ""] = found;
    this.major = Number(major);
    this.minor = Number(minor);
    this.patch = Number(patch);
    this.prerelease = prerelease;
    this.metadata = metadata;
    this.original = text;
  }

  /** Negative, zero or positive, as https://semver.org/#spec-item-11 orders versions. */
  compare(other: Version): number {
    return (
      this.major - other.major ||
      this.minor - other.minor ||
      this.patch - other.patch ||
      comparePrereleases(this.prerelease, other.prerelease)
    );
  }

  toString(): string {
    const release = `${this.major}.${this.minor}.${this.patch}`;
    const prerelease = this.prerelease === "" ? "" : `-${this.prerelease}`;
    return `${release}${prerelease}${this.metadata === "" ? "" : `+${this.metadata}`}`;
  }
}

function comparePrereleases(left: string, right: string): number {
  if (left === right) return 0;
  // A release comes behind all that came before it.
  if (left === "") return 1;
  if (right === "") return -1;
  const [ours, theirs] = [left.split("."), right.split(".")];
  for (const [index, part] of ours.entries()) {
    const other = theirs[index];
    if (other === undefined) return 1;
    const [isNumber, isOther] = [/^\d+$/u.test(part), /^\d+$/u.test(other)];
    if (isNumber !== isOther) return isNumber ? -1 : 1;
    if (isNumber) {
      const difference = Number(part) - Number(other);
      if (difference !== 0) return difference;
    } else if (part !== other) {
      return part < other ? -1 : 1;
    }
  }
  return ours.length - theirs.length;
}

/** How much of a constraint's version was written; what is missing or `x` counts as any. */
type Precision = "any" | "major" | "minor" | "patch";

interface Constraint {
  readonly operator: string;
  readonly version: Version;
  readonly precision: Precision;
}

const wildcard = String.raw`v?(?:\d+|[xX*])(?:\.(?:\d+|[xX*]))?(?:\.(?:\d+|[xX*]))?(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?`;
const rangePattern = new RegExp(String.raw`(${wildcard})\s+-\s+(${wildcard})`, "gu");
const onePattern = new RegExp(
  String.raw`(!=|>=|=>|<=|=<|~>|=|>|<|~|\^)?\s*(${wildcard})(?=$|[\s,])`,
  "uy",
);

/** Whether a version satisfies a constraint such as `>=1.2 <2 || ^3`. */
export function satisfies(version: Version, constraints: string): boolean {
  if (constraints.length > 1000) throw fault("the version constraint is too long");
  return constraints
    .split("||")
    .map((part) => parseConstraints(part.replaceAll(rangePattern, ">=$1 <=$2"), constraints))
    .some((all) => all.every((constraint) => check(version, constraint)));
}

function parseConstraints(part: string, whole: string): readonly Constraint[] {
  const found: Constraint[] = [];
  let at = 0;
  const skip = (): void => {
    while (at < part.length && /[\s,]/u.test(part.charAt(at))) at += 1;
  };
  for (skip(); at < part.length; skip()) {
    onePattern.lastIndex = at;
    const match = onePattern.exec(part);
    if (match === null) throw fault(`improper version constraint "${whole.slice(0, 100)}"`);
    at = onePattern.lastIndex;
    const [, operator = "=", text = ""] = match;
    found.push(parseConstraint(operator, text));
  }
  return found;
}

function parseConstraint(operator: string, text: string): Constraint {
  const [, release = "", rest = ""] = /^v?([^-+]*)(.*)$/u.exec(text) ?? [];
  const fields = release.split(".");
  const known = fields.findIndex((field) => /^[xX*]$/u.test(field));
  const count = known === -1 ? fields.length : known;
  const precisions: readonly Precision[] = ["any", "major", "minor", "patch"];
  const numbers = [0, 1, 2].map((index) => (index < count ? (fields[index] ?? "0") : "0"));
  return {
    operator,
    version: new Version(numbers.join(".") + rest),
    precision: precisions[Math.min(count, 3)] ?? "patch",
  };
}

function check(version: Version, { operator, version: wanted, precision }: Constraint): boolean {
  const exact = precision === "patch";
  // A version before a release counts only where one before a release is asked for.
  const early = version.prerelease !== "" && wanted.prerelease === "";
  if (early && !(exact && (operator === "=" || operator === "!="))) return false;
  const order = version.compare(wanted);
  switch (operator) {
    case "=":
      return exact ? order === 0 : within(version, wanted, precision);
    case "!=":
      return exact ? order !== 0 : !within(version, wanted, precision);
    case ">":
      return exact ? order > 0 : order > 0 && !within(version, wanted, precision);
    case "<":
      return order < 0;
    case ">=":
    case "=>":
      return order >= 0;
    case "<=":
    case "=<":
      return exact ? order <= 0 : order < 0 || within(version, wanted, precision);
    case "^":
      return order >= 0 && isCompatible(version, wanted, precision);
    default:
      return order >= 0 && within(version, wanted, exact ? "minor" : precision);
  }
}

/** Whether two versions are the same as far as one was written. */
function within(version: Version, wanted: Version, precision: Precision): boolean {
  if (precision === "any") return true;
  if (version.major !== wanted.major) return false;
  return precision === "major" || version.minor === wanted.minor;
}

function isCompatible(version: Version, wanted: Version, precision: Precision): boolean {
  if (precision === "any") return true;
  if (version.major !== wanted.major) return false;
  if (wanted.major > 0 || precision === "major") return true;
  if (version.minor !== wanted.minor) return false;
  return wanted.minor > 0 || precision === "minor" || version.patch === wanted.patch;
}
