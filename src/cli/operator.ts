import { dirname, resolve } from "node:path";
import { isScalar } from "yaml";
import { Failure } from "../errors/mod.ts";
import {
  ceilings,
  hostLimits,
  parseBytes,
  type AskedHostLimits,
  type LimitKey,
} from "../limits/mod.ts";
import type { GateOptions, Secret } from "../network/mod.ts";
import type { RegistrySettings } from "../oci/mod.ts";
import type { ConfigurationFile } from "./configuration.ts";
import { readPolicy, type OperatorPolicy } from "./policy.ts";
import { Reader, readSmall } from "./reader.ts";
import { noRepositories, readRepositories, type Repositories } from "./repositories.ts";

/** What the operator allows to the steps of a run. */
export interface Operator extends Required<
  Pick<GateOptions, "permissions" | "secrets" | "authorities">
> {
  readonly limits: AskedHostLimits;
  /** How registries of images are met, by their names. */
  readonly registries: ReadonlyMap<string, RegistrySettings>;
  readonly repositories: Repositories;
  /** What all images may take on this disk. */
  readonly imageCacheBytes?: number;
  /** Which modules may run; all of them when it is absent. */
  readonly policy?: OperatorPolicy;
}

/** Where nobody says anything. */
export const nobody: Operator = {
  permissions: { allowedHosts: [], allowedAddresses: [] },
  secrets: new Map(),
  authorities: [],
  limits: {},
  registries: new Map(),
  repositories: noRepositories,
};

/** A secret's file is small; whatever else is named by mistake is not read whole. */
const secretBytes = 64 * 1024;
const authorityBytes = 4 * 1024 * 1024;

/** Reads `imageCache:`, `limits:`, `permissions:`, `policy:`, `registries:` and `secrets:` of a configuration. Values of secrets are not read before a step needs them. */
export async function readOperator(file: ConfigurationFile): Promise<Operator> {
  const { root, path } = file;
  const reader = new Reader(file);
  const http = reader.mapping(
    reader.mapping(root.get("permissions"), "permissions", ["http"]).get("http"),
    "permissions.http",
    ["allowedHosts", "allowedAddresses", "caFile"],
  );
  const caFile = http.get("caFile");
  const given = secrets(reader, root.get("secrets"), path);
  return {
    permissions: {
      allowedHosts: reader.hosts(http.get("allowedHosts"), "permissions.http.allowedHosts"),
      allowedAddresses: reader.texts(
        http.get("allowedAddresses"),
        "permissions.http.allowedAddresses",
      ),
    },
    secrets: given,
    repositories: readRepositories(file, given),
    limits: limits(reader, root.get("limits")),
    registries: await registries(reader, root.get("registries"), path),
    ...imageCache(reader, root.get("imageCache")),
    ...(root.has("policy") ? { policy: await readPolicy(reader, root.get("policy"), path) } : {}),
    authorities:
      caFile === undefined
        ? []
        : [
            await readAuthority(
              resolve(dirname(path), reader.text(caFile, "permissions.http.caFile")),
              "permissions.http.caFile",
            ),
          ],
  };
}

/** The highest values that a step may ask for, and what only a host says. Each is looked at here, where its place is known. */
function limits(reader: Reader, node: unknown): AskedHostLimits {
  const asked: Partial<Record<LimitKey, string | number>> = {};
  for (const [key, value] of reader.mapping(node, "limits", Object.keys(ceilings))) {
    const written: unknown = isScalar(value) ? value.value : undefined;
    if (typeof written !== "string" && typeof written !== "number") {
      throw reader.wrong(
        value,
        `limits.${key} is no value`,
        "Write one, such as 64Mi, 30s or 1000.",
      );
    }
    try {
      hostLimits({ [key]: written });
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      const { message, hint = "" } = thrown;
      const named = message.startsWith("limits.") ? message : `limits.${key}: ${message}`;
      throw reader.wrong(value, named, hint);
    }
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the reader refused every other key
    asked[key as LimitKey] = written;
  }
  return asked;
}

function imageCache(reader: Reader, node: unknown): Pick<Operator, "imageCacheBytes"> {
  const size = reader.mapping(node, "imageCache", ["size"]).get("size");
  if (size === undefined) return {};
  const name = "imageCache.size";
  const written =
    isScalar(size) && typeof size.value === "number" ? size.value : reader.text(size, name);
  return { imageCacheBytes: reader.checked(size, name, () => parseBytes(written)) };
}

async function registries(
  reader: Reader,
  node: unknown,
  path: string,
): Promise<ReadonlyMap<string, RegistrySettings>> {
  const found = new Map<string, RegistrySettings>();
  if (node === undefined) return found;
  // What speaks HTTP is loaded by those who need it.
  const { parseMirror, parseRegistryName } = await import("../oci/mod.ts");
  for (const [text, about] of reader.mapping(node, "registries")) {
    const label = `registries.${text}`;
    const name = reader.checked(about, label, () => parseRegistryName(text));
    if (found.has(name))
      throw reader.wrong(about, `${label} is "${name}", which is there already`, "Remove one.");
    const parts = reader.mapping(about, label, ["mirrors", "plainHttp", "insecure", "caFile"]);
    const mirrors = reader.texts(parts.get("mirrors"), `${label}.mirrors`);
    for (const mirror of mirrors) {
      reader.checked(parts.get("mirrors"), `${label}.mirrors`, () => parseMirror(mirror));
    }
    const plainHttp = reader.flag(parts.get("plainHttp"), `${label}.plainHttp`);
    const insecure = reader.flag(parts.get("insecure"), `${label}.insecure`);
    const caFile = parts.get("caFile");
    const authorities =
      caFile === undefined
        ? []
        : [
            await readAuthority(
              resolve(dirname(path), reader.text(caFile, `${label}.caFile`)),
              `${label}.caFile`,
            ),
          ];
    if (authorities.some((pem) => !pem.includes("-----BEGIN CERTIFICATE-----")))
      throw reader.wrong(caFile, `${label}.caFile has no certificate`, "Name a file of PEM.");
    found.set(name, {
      mirrors,
      ...(plainHttp === undefined ? {} : { plainHttp }),
      ...(insecure === undefined ? {} : { insecure }),
      ...(authorities.length === 0 ? {} : { authorities }),
    });
  }
  return found;
}

function secrets(reader: Reader, node: unknown, path: string): ReadonlyMap<string, Secret> {
  const found = new Map<string, Secret>();
  for (const [name, keys] of reader.mapping(node, "secrets")) {
    for (const [key, about] of reader.mapping(keys, `secrets.${name}`)) {
      const label = `secrets.${name}.${key}`;
      const parts = reader.mapping(about, label, ["fromEnv", "fromFile", "hosts", "in"]);
      const variable = parts.get("fromEnv");
      const file = parts.get("fromFile");
      if ((variable === undefined) === (file === undefined)) {
        throw reader.wrong(
          about,
          `${label} has ${variable === undefined ? "neither fromEnv nor fromFile" : "fromEnv and fromFile"}`,
          "Name the variable or the file that has the value; the value itself never stands here.",
        );
      }
      const hosts = reader.hosts(parts.get("hosts"), `${label}.hosts`);
      if (hosts.length === 0) {
        throw reader.wrong(about, `${label} has no hosts`, "List the hosts to which it may go.");
      }
      const where = reader.texts(parts.get("in"), `${label}.in`).map((word) => {
        if (word === "header" || word === "body") return word;
        throw reader.wrong(parts.get("in"), `${label}.in has "${word}"`, "Write header or body.");
      });
      found.set(`${name}/${key}`, {
        value:
          variable === undefined
            ? readSecretFile(resolve(dirname(path), reader.text(file, `${label}.fromFile`)), label)
            : readVariable(reader.text(variable, `${label}.fromEnv`), label),
        hosts,
        ...(where.length === 0 ? {} : { in: where }),
      });
    }
  }
  return found;
}

function readVariable(name: string, label: string): Secret["value"] {
  return async () => {
    const value = process.env[name];
    if (value !== undefined) return Buffer.from(value);
    throw new Failure("secret-missing", `${label}: the variable ${name} is not set`, {
      hint: "Set it where this command runs.",
    });
  };
}

function readSecretFile(path: string, label: string): Secret["value"] {
  return async () => readSmall(path, secretBytes, label);
}

async function readAuthority(path: string, label: string): Promise<string> {
  return (await readSmall(path, authorityBytes, label)).toString();
}
