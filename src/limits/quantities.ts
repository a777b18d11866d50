import { Failure } from "../errors/mod.ts";

const units: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["k", 1e3],
  ["M", 1e6],
  ["G", 1e9],
  ["T", 1e12],
  ["Ki", 1024],
  ["Mi", 1024 ** 2],
  ["Gi", 1024 ** 3],
  ["Ti", 1024 ** 4],
]);

/** Parses a Kubernetes quantity of bytes: `1048576`, `"1Mi"`, `"1.5G"`. */
export function parseBytes(text: string | number): number {
  const bytes = quantity(text);
  if (bytes !== undefined) return bytes;
  throw new Failure("invalid-argument", `"${text}" is not a size`, {
    hint: 'Write a number of bytes above zero, or a quantity such as "64Mi" or "2G".',
  });
}

/** Parses a number of things: `1000`, `"100k"`. */
export function parseCount(text: string | number): number {
  const count = quantity(text);
  if (count !== undefined) return count;
  throw new Failure("invalid-argument", `"${text}" is not a number of things`, {
    hint: 'Write a whole number above zero, or a quantity such as "100k".',
  });
}

function quantity(text: string | number): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(String(text));
  if (!match) return undefined;
  const value = Math.floor(Number(match[1]) * (units.get(match[2] ?? "") ?? 1));
  return value >= 1 && Number.isSafeInteger(value) ? value : undefined;
}

const durationUnits: ReadonlyMap<string, number> = new Map([
  ["ns", 1e-6],
  ["us", 1e-3],
  ["µs", 1e-3],
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

/** Parses a duration as Argo does: a number of seconds, or Go's form such as `"1h30m"`, `"250ms"`, `"2d"`. */
export function parseDurationMs(text: string | number): number {
  const written = String(text).trim();
  if (/^\d+(\.\d+)?$/.test(written)) return Number(written) * 1000;
  const parts = [...written.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join("") !== written) {
    throw new Failure("invalid-argument", `"${text}" is not a duration`, {
      hint: 'Write seconds, or a duration such as "500ms", "30s" or "1h30m".',
    });
  }
  return parts.reduce(
    (sum, [, amount = "0", unit = ""]) => sum + Number(amount) * (durationUnits.get(unit) ?? 0),
    0,
  );
}

/** The shortest way to write a number of bytes without rounding it: `256Mi`, `1000`. */
export function formatBytes(bytes: number): string {
  for (const unit of ["Ti", "Gi", "Mi", "Ki"]) {
    const size = units.get(unit) ?? 1;
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return String(bytes);
}

/** A duration in its largest whole unit: `5m`, `1500ms`. */
export function formatDurationMs(ms: number): string {
  for (const unit of ["d", "h", "m", "s"]) {
    const size = durationUnits.get(unit) ?? 1;
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}
