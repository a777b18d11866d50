import { createHash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { Failure } from "../errors/mod.ts";
import { ceilings, hostLimits, parseDurationMs, type AskedLimits } from "../limits/mod.ts";
import { parseTrust } from "../runner/mod.ts";
import { checkFunctionName } from "./convention.ts";
import { parseDescription } from "./description.ts";
import type { Deployment, Deployments, Program, RetryPolicy } from "./mod.ts";

/** As Kubernetes names things (RFC 1123 label). */
const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const keys = [
  "image",
  "limits",
  "trust",
  "environment",
  "permissions",
  "retry",
  "pure",
  "concurrency",
];
const longestImage = 512;
const mostVariables = 200;
const mostAttempts = 20;
const longestBackoffMs = 60 * 60 * 1000;

/**
 * Reads what a client says of a deployment: `{image, limits?, permissions?, trust?, environment?, retry?, pure?, concurrency?}`. Throws
 * `invalid-argument` with the key that is wrong. `digest` is what the image is now.
 */
export function parseDeployment(
  said: unknown,
  about: {
    readonly namespace: string;
    readonly name: string;
    readonly digest: string;
    readonly deployedAt: string;
    /** What the module says of its functions. */
    readonly functions?: string;
  },
): Deployment {
  const { namespace, name, digest, deployedAt, functions } = about;
  checkName(namespace, "namespace");
  checkName(name, "deployment");
  const root = record(said, "The deployment");
  const unknown = Object.keys(root).find((key) => !keys.includes(key));
  if (unknown !== undefined) throw wrong(unknown, "is no key of a deployment", keys.join(", "));
  const image = imageOf(root);
  const program: Program = {
    module: { image, digest },
    limits: limitsOf(root["limits"]),
    ...(root["trust"] === undefined ? {} : { trust: parseTrust(root["trust"], "trust") }),
    ...(root["environment"] === undefined ? {} : { environment: variables(root["environment"]) }),
    ...(root["permissions"] === undefined ? {} : { permissions: permissions(root["permissions"]) }),
  };
  const retry = retryOf(root["retry"]);
  const named = texts(root["pure"], "pure");
  for (const item of named) checkFunctionName(item);
  const described = functions === undefined ? [] : [...parseDescription(functions, name).functions];
  const pure = [
    ...new Set([...named, ...described.filter(([, { pure: is }]) => is).map(([key]) => key)]),
  ];
  const concurrency = root["concurrency"];
  if (concurrency !== undefined && !whole(concurrency, 1, 100_000)) {
    throw wrong("concurrency", `is ${shown(concurrency)}`, "a whole number from 1 to 100,000");
  }
  const rest = { program, retry, pure, ...(whole(concurrency, 1, 100_000) ? { concurrency } : {}) };
  return {
    namespace,
    name,
    ...rest,
    ...(functions === undefined ? {} : { functions }),
    deployedAt,
    version: versionOf(rest),
  };
}

/** The image that a client names. */
export function imageOf(said: unknown): string {
  const { image } = record(said, "The deployment");
  if (typeof image === "string" && image !== "" && image.length <= longestImage) return image;
  throw wrong("image", `is ${shown(image)}`, "an image such as ghcr.io/acme/resize:1");
}

/** Throws `invalid-argument` for what is no name of a namespace or deployment. */
function checkName(name: string, what: string): void {
  if (namePattern.test(name)) return;
  throw new Failure("invalid-argument", `"${name.slice(0, 100)}" is no name of a ${what}`, {
    hint: "It has small letters, digits and -, and at most 63 of them.",
  });
}

/** Two deployments that say the same have one version. */
function versionOf(about: unknown): string {
  return createHash("sha256").update(JSON.stringify(about)).digest("base64url").slice(0, 16);
}

function limitsOf(value: unknown): AskedLimits {
  if (value === undefined) return {};
  const asked: Record<string, string | number> = {};
  for (const [key, limit] of Object.entries(record(value, "limits"))) {
    if (!Object.hasOwn(ceilings, key)) {
      throw wrong(`limits.${key}`, "is no limit", Object.keys(ceilings).join(", "));
    }
    if (typeof limit !== "string" && typeof limit !== "number") {
      throw wrong(`limits.${key}`, `is ${shown(limit)}`, "a value such as 64Mi or 30s");
    }
    hostLimits({ [key]: limit });
    asked[key] = limit;
  }
  return asked;
}

function variables(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(record(value, "environment"));
  if (entries.length > mostVariables) {
    throw wrong("environment", `has ${entries.length} variables`, `at most ${mostVariables}`);
  }
  return Object.fromEntries(
    entries.map(([name, text]) => {
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
        throw wrong(
          `environment.${name.slice(0, 100)}`,
          "is no name of a variable",
          "letters, digits and _",
        );
      }
      if (typeof text === "string") return [name, text];
      throw wrong(`environment.${name}`, `is ${shown(text)}`, "a text");
    }),
  );
}

function permissions(value: unknown): NonNullable<Program["permissions"]> {
  const said = record(value, "permissions");
  const other = Object.keys(said).find((key) => key !== "http" && key !== "call");
  if (other !== undefined) throw wrong(`permissions.${other}`, "is none", "http, call");
  const http = said["http"] === undefined ? undefined : record(said["http"], "permissions.http");
  const call = said["call"] === undefined ? undefined : record(said["call"], "permissions.call");
  return {
    ...(http
      ? { http: { allowedHosts: texts(http["allowedHosts"], "permissions.http.allowedHosts") } }
      : {}),
    ...(call
      ? { call: { functions: texts(call["functions"], "permissions.call.functions") } }
      : {}),
  };
}

const noRetry: RetryPolicy = { attempts: 3, backoffMs: 100, mostBackoffMs: 10_000 };

function retryOf(value: unknown): RetryPolicy {
  if (value === undefined) return noRetry;
  const said = record(value, "retry");
  const known = ["attempts", "on", "backoff", "maxBackoff"];
  const other = Object.keys(said).find((key) => !known.includes(key));
  if (other !== undefined) throw wrong(`retry.${other}`, "is no key", known.join(", "));
  const attempts = said["attempts"] ?? noRetry.attempts;
  if (!whole(attempts, 1, mostAttempts)) {
    throw wrong(
      "retry.attempts",
      `is ${shown(attempts)}`,
      `a whole number from 1 to ${mostAttempts}`,
    );
  }
  const duration = (key: string, otherwise: number): number => {
    const text = said[key];
    if (text === undefined) return otherwise;
    const ms = typeof text === "string" ? parseDurationMs(text) : Number.NaN;
    if (ms >= 0 && ms <= longestBackoffMs) return ms;
    throw wrong(`retry.${key}`, `is ${shown(text)}`, "a duration such as 100ms, up to 1h");
  };
  return {
    attempts,
    ...(said["on"] === undefined ? {} : { on: texts(said["on"], "retry.on") }),
    backoffMs: duration("backoff", noRetry.backoffMs),
    mostBackoffMs: duration("maxBackoff", noRetry.mostBackoffMs),
  };
}

function texts(value: unknown, where: string): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > 1000)
    throw wrong(where, `is ${shown(value)}`, "a list");
  return value.map((item: unknown) => {
    if (typeof item === "string" && item.length <= 1000) return item;
    throw wrong(where, `has ${shown(item)}`, "texts");
  });
}

function whole(value: unknown, least: number, most: number): value is number {
  return (
    typeof value === "number" && Number.isSafeInteger(value) && value >= least && value <= most
  );
}

function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an object of JSON
    return value as Readonly<Record<string, unknown>>;
  }
  throw new Failure("invalid-argument", `${what} is ${shown(value)}, and should be an object`);
}

function shown(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 100) ?? "missing";
}

function wrong(key: string, what: string, may: string): Failure {
  return new Failure("invalid-argument", `${key} ${what}`, { hint: `It may be: ${may}.` });
}

/** Keeps deployments in a database file; `:memory:` keeps them for as long as the process lives. */
export function openDeployments(file: string): Deployments {
  const database = new DatabaseSync(file);
  database.exec(
    "PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 5000; CREATE TABLE IF NOT EXISTS deployments (namespace TEXT, name TEXT, version TEXT, record TEXT, PRIMARY KEY (namespace, name)) STRICT",
  );
  // A call reads its deployment; what another process writes is seen after this.
  const kept = new Map<string, { readonly at: number; readonly found: Deployment | undefined }>();
  const read = (namespace: string, name: string): Deployment | undefined => {
    const row = database
      .prepare("SELECT record FROM deployments WHERE namespace = ? AND name = ?")
      .get(namespace, name);
    return row && parsed(row["record"]);
  };
  return {
    get(namespace, name) {
      const key = `${namespace}/${name}`;
      const now = performance.now();
      let known = kept.get(key);
      if (!known || now - known.at > freshMs) {
        const found = read(namespace, name);
        // The same object as before, if nothing has changed: what was made ready for it is found by it.
        const same = known?.found && found && known.found.version === found.version;
        known = { at: now, found: same ? known?.found : found };
        if (kept.size >= mostKept) kept.clear();
        kept.set(key, known);
      }
      return Promise.resolve(known.found);
    },
    put(deployment, ifVersion) {
      const { namespace, name, version } = deployment;
      const now = read(namespace, name)?.version;
      if (ifVersion !== undefined && (ifVersion ?? undefined) !== now) {
        return Promise.reject(changed(namespace, name, now));
      }
      database
        .prepare("INSERT OR REPLACE INTO deployments VALUES (?, ?, ?, ?)")
        .run(namespace, name, version, JSON.stringify(deployment));
      kept.delete(`${namespace}/${name}`);
      return Promise.resolve();
    },
    list(namespace) {
      const rows = database
        .prepare("SELECT record FROM deployments WHERE namespace = ? ORDER BY name")
        .all(namespace);
      return Promise.resolve(rows.map((row) => parsed(row["record"])));
    },
    remove(namespace, name, ifVersion) {
      const now = read(namespace, name)?.version;
      if (ifVersion !== undefined && ifVersion !== now) {
        return Promise.reject(changed(namespace, name, now));
      }
      const { changes } = database
        .prepare("DELETE FROM deployments WHERE namespace = ? AND name = ?")
        .run(namespace, name);
      kept.delete(`${namespace}/${name}`);
      return Promise.resolve(Number(changes) > 0);
    },
    [Symbol.asyncDispose]() {
      database.close();
      return Promise.resolve();
    },
  };
}

const freshMs = 1000;
const mostKept = 10_000;

function parsed(text: unknown): Deployment {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- we wrote it
  return JSON.parse(String(text)) as Deployment;
}

/** Whoever changes a deployment must have seen the one that is there. */
export function changed(namespace: string, name: string, now: string | undefined): Failure {
  const is = now === undefined ? "there is none" : `its version is ${now}`;
  return new Failure("conflict", `The deployment ${namespace}/${name} is another one now: ${is}`, {
    hint: "Read it again and decide anew.",
  });
}
