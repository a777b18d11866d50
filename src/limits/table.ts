import type { Code } from "../errors/mod.ts";

/** One ceiling. There is no value for "unlimited": `most` is what the machinery is built for. */
export interface Ceiling {
  /** Its field in `Limits`. */
  readonly field: keyof Limits;
  readonly unit: "bytes" | "duration" | "count";
  readonly default: string;
  /** The highest value that a host may allow. */
  readonly most: string;
  /** The lowest value, where the machinery itself needs some of it. */
  readonly least?: string;
  /** `step`: a step sets its value and the host the highest one; `host`: only the host sets it. */
  readonly scope: "step" | "host";
  readonly code: Code;
  /** A ceiling that takes this one's value when it is not asked for: whoever raises the one means the other too. */
  readonly follows?: LimitKey;
  readonly summary: string;
}

const table = {
  memory: {
    field: "memoryBytes",
    unit: "bytes",
    default: "256Mi",
    most: "4Gi",
    scope: "step",
    code: "limit-memory",
    summary: "Linear memory, in whole pages of 64Ki",
  },
  time: {
    field: "timeMs",
    unit: "duration",
    default: "5m",
    most: "7d",
    scope: "step",
    code: "limit-time",
    summary: "Wall time of the guest, waiting included",
  },
  cpuTime: {
    field: "cpuMs",
    unit: "duration",
    default: "5m",
    most: "7d",
    scope: "step",
    code: "limit-cpu-time",
    follows: "time",
    summary: "Time that the guest computes; waiting costs none",
  },
  tableElements: {
    field: "tableElements",
    unit: "count",
    default: "1M",
    most: "10M",
    scope: "step",
    code: "limit-table",
    summary: "Entries of all tables together",
  },
  output: {
    field: "outputBytes",
    unit: "bytes",
    default: "8Mi",
    most: "256Mi",
    scope: "step",
    code: "limit-output",
    summary: "Bytes of stdout and of stderr, each",
  },
  logLines: {
    field: "logLines",
    unit: "count",
    default: "100k",
    most: "1M",
    scope: "step",
    code: "limit-log-lines",
    summary: "Lines of the log in one second; further ones are left out and counted",
  },
  files: {
    field: "filesBytes",
    unit: "bytes",
    default: "1Gi",
    most: "1Ti",
    scope: "step",
    code: "limit-files",
    summary: "Bytes that all files which the guest writes hold together",
  },
  fileSize: {
    field: "fileBytes",
    unit: "bytes",
    default: "1Gi",
    most: "1Ti",
    scope: "step",
    code: "limit-file-size",
    follows: "files",
    summary: "Bytes of one file",
  },
  fileCount: {
    field: "fileCount",
    unit: "count",
    default: "100k",
    most: "2M",
    scope: "step",
    code: "limit-file-count",
    summary: "Files, folders and links that the guest creates",
  },
  descriptors: {
    field: "descriptors",
    unit: "count",
    default: "1024",
    most: "64Ki",
    scope: "step",
    code: "limit-descriptors",
    summary: "Descriptors open at once",
  },
  pathLength: {
    field: "pathBytes",
    unit: "bytes",
    default: "4Ki",
    most: "4Ki",
    scope: "step",
    code: "limit-path-length",
    summary: "Bytes of one path",
  },
  pathDepth: {
    field: "pathDepth",
    unit: "count",
    default: "256",
    most: "1024",
    scope: "step",
    code: "limit-path-depth",
    summary: "Folders in each other, and parts of one path",
  },
  arguments: {
    field: "argumentBytes",
    unit: "bytes",
    default: "1Mi",
    most: "16Mi",
    scope: "step",
    code: "limit-arguments",
    summary: "Bytes of arguments and environment together",
  },
  random: {
    field: "randomBytes",
    unit: "bytes",
    default: "256Mi",
    most: "64Gi",
    scope: "step",
    code: "limit-random",
    summary: "Random bytes that the guest asks for",
  },
  httpRequests: {
    field: "httpRequests",
    unit: "count",
    default: "1000",
    most: "1M",
    scope: "step",
    code: "limit-http-requests",
    summary: "HTTP requests, redirects that are followed included",
  },
  httpBytes: {
    field: "httpBytes",
    unit: "bytes",
    default: "256Mi",
    most: "1Ti",
    scope: "step",
    code: "limit-http-bytes",
    summary: "Bytes of all HTTP requests and responses together",
  },
  stack: {
    field: "stackBytes",
    unit: "bytes",
    default: "1Mi",
    most: "64Mi",
    // Our own code on the same stack: with 256Ki a thread does not start.
    least: "512Ki",
    scope: "host",
    code: "limit-stack",
    summary: "Call stack of a guest; 512Ki is the least",
  },
  sandboxes: {
    field: "sandboxes",
    unit: "count",
    default: "10k",
    most: "100k",
    scope: "host",
    code: "limit-sandboxes",
    summary: "Guests that run or wait at once",
  },
  compileTime: {
    field: "compileMs",
    unit: "duration",
    default: "30s",
    most: "10m",
    scope: "host",
    code: "limit-compile-time",
    summary: "Time to compile one module",
  },
  moduleSize: {
    field: "moduleBytes",
    unit: "bytes",
    default: "64Mi",
    most: "1Gi",
    scope: "host",
    code: "module-too-large",
    summary: "Bytes of a module",
  },
  moduleFunctions: {
    field: "moduleFunctions",
    unit: "count",
    default: "200k",
    most: "1M",
    scope: "host",
    code: "limit-module-functions",
    summary: "Functions of a module",
  },
  moduleLocals: {
    field: "moduleLocals",
    unit: "count",
    default: "2M",
    most: "50M",
    scope: "host",
    code: "limit-module-locals",
    summary: "Local variables of all functions of a module together",
  },
  moduleTypes: {
    field: "moduleTypes",
    unit: "count",
    default: "50k",
    most: "1M",
    scope: "host",
    code: "limit-module-types",
    summary: "Types of a module",
  },
  moduleImports: {
    field: "moduleImports",
    unit: "count",
    default: "1000",
    most: "100k",
    scope: "host",
    code: "limit-module-imports",
    summary: "Imports of a module",
  },
  moduleExports: {
    field: "moduleExports",
    unit: "count",
    default: "50k",
    most: "1M",
    scope: "host",
    code: "limit-module-exports",
    summary: "Exports of a module",
  },
  moduleGlobals: {
    field: "moduleGlobals",
    unit: "count",
    default: "100k",
    most: "1M",
    scope: "host",
    code: "limit-module-globals",
    summary: "Globals of a module",
  },
  moduleSegments: {
    field: "moduleSegments",
    unit: "count",
    default: "200k",
    most: "1M",
    scope: "host",
    code: "limit-module-segments",
    summary: "Data and element segments of a module together",
  },
} as const;

type Table = typeof table;

/** A ceiling's name in YAML and on the command line. */
export type LimitKey = keyof Table;

/** Every ceiling. Types, defaults, checks and documentation follow from this table. */
export const ceilings: Readonly<Record<LimitKey, Ceiling>> = table;

/** Ceilings that a step may set. */
type StepLimitKey = {
  [Key in LimitKey]: Table[Key]["scope"] extends "step" ? Key : never;
}[LimitKey];

/** Every ceiling of one invocation, in milliseconds, bytes or pieces. */
export type Limits = { readonly [Key in LimitKey as Table[Key]["field"]]: number };

/** Limits as a step writes them in `limits:` (Kubernetes quantities and durations). */
export type AskedLimits = { readonly [Key in StepLimitKey]?: string | number };

/** Limits as an operator writes them: the highest value of what a step may ask for, the value of everything else. */
export type AskedHostLimits = { readonly [Key in LimitKey]?: string | number };
