import { Failure } from "../errors/mod.ts";

/** Every ceiling of one invocation. There is no value for "unlimited". */
export interface Limits {
  /** Wall time of the guest, in milliseconds. */
  readonly timeMs: number;
  /** Linear memory of the guest, in bytes; rounded down to whole pages of 64 KiB. */
  readonly memoryBytes: number;
  /** Entries of each table. */
  readonly tableElements: number;
  /** Bytes of stdout and of stderr, each. */
  readonly outputBytes: number;
  /** Bytes that all files which the guest writes may hold together. */
  readonly filesBytes: number;
  /** Files, directories and links that the guest may create. */
  readonly fileCount: number;
  /** Descriptors open at once. */
  readonly descriptors: number;
  /** Arguments and environment together, in bytes. */
  readonly argumentBytes: number;
  /** Size of the module, in bytes. */
  readonly moduleBytes: number;
}

const mebibyte = 1024 * 1024;

export const defaultLimits: Limits = {
  timeMs: 5 * 60_000,
  memoryBytes: 256 * mebibyte,
  tableElements: 1_000_000,
  outputBytes: 8 * mebibyte,
  filesBytes: 1024 * mebibyte,
  fileCount: 100_000,
  descriptors: 1024,
  argumentBytes: mebibyte,
  moduleBytes: 64 * mebibyte,
};

/** Limits as a user writes them in `limits:` (Kubernetes quantities and durations). */
export interface AskedLimits {
  readonly memory?: string | number;
  readonly time?: string | number;
  readonly output?: string | number;
  readonly files?: string | number;
  readonly fileCount?: string | number;
}

/** Fills in the defaults. Throws `invalid-argument` for a value that is no quantity or not above zero. */
export function resolveLimits(asked: AskedLimits = {}): Limits {
  const limits: { -readonly [Name in keyof Limits]: Limits[Name] } = { ...defaultLimits };
  if (asked.memory !== undefined) limits.memoryBytes = parseBytes(asked.memory);
  if (asked.time !== undefined) limits.timeMs = parseDurationMs(asked.time);
  if (asked.output !== undefined) limits.outputBytes = parseBytes(asked.output);
  if (asked.files !== undefined) limits.filesBytes = parseBytes(asked.files);
  if (asked.fileCount !== undefined) limits.fileCount = parseBytes(asked.fileCount);
  return limits;
}

const byteUnits: ReadonlyMap<string, number> = new Map([
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
  const match = /^(\d+(?:\.\d+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(String(text));
  const bytes = match ? Math.floor(Number(match[1]) * (byteUnits.get(match[2] ?? "") ?? 1)) : 0;
  if (!match || bytes < 1 || !Number.isSafeInteger(bytes)) {
    throw new Failure("invalid-argument", `"${text}" is not a size`, {
      hint: 'Write a number of bytes above zero, or a quantity such as "64Mi" or "2G".',
    });
  }
  return bytes;
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
