import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { parse } from "yaml";
import { Failure } from "../errors/mod.ts";
import { ApiCluster } from "./cluster.ts";
import { Connection, type Access } from "./connection.ts";
import { listOf, recordOf, textOf } from "./json.ts";
import type { Cluster } from "./mod.ts";

export interface ClusterFromOptions {
  /** A file, or several as in `KUBECONFIG`; default: that variable, the pod that this runs in, `~/.kube/config`. */
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/** The cluster that this machine's user or this pod is configured for. Throws `cluster-invalid`. */
export async function clusterFrom(options: ClusterFromOptions): Promise<Cluster> {
  const { environment, context } = options;
  const named = options.kubeconfig ?? nonEmpty(environment["KUBECONFIG"]);
  if (named === undefined && context === undefined) {
    const pod = await inCluster(environment);
    if (pod) return new ApiCluster(new Connection(pod));
  }
  const files = (named ?? join(environment["HOME"] ?? homedir(), ".kube", "config"))
    .split(delimiter)
    .filter((file) => file !== "");
  return new ApiCluster(new Connection(await fromFiles(files, context, environment)));
}

async function inCluster(
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Access | undefined> {
  const host = nonEmpty(environment["KUBERNETES_SERVICE_HOST"]);
  const port = nonEmpty(environment["KUBERNETES_SERVICE_PORT"]);
  if (host === undefined || port === undefined) return undefined;
  const ca = await readFile(join(accountFolder, "ca.crt"), "utf8").catch(() => undefined);
  if (ca === undefined) return undefined;
  const token = tokenFile(join(accountFolder, "token"));
  const namespace = await readFile(join(accountFolder, "namespace"), "utf8").catch(() => "default");
  const server = new URL(`https://${host.includes(":") ? `[${host}]` : host}:${port}`);
  return { server, namespace: namespace.trim(), tls: { ca }, ...token };
}

type Json = Readonly<Record<string, unknown>>;

interface Named {
  readonly value: Json;
  /** Folder that its paths are relative to. */
  readonly folder: string;
}

async function fromFiles(
  files: readonly string[],
  context: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Access> {
  const found = {
    contexts: new Map<string, Named>(),
    clusters: new Map<string, Named>(),
    users: new Map<string, Named>(),
  };
  let current: string | undefined;
  let read = 0;
  for (const file of files) {
    const text = await readFile(file, "utf8").catch((cause: unknown) => {
      if (files.length > 1) return undefined;
      throw new Failure(
        "cluster-invalid",
        `Cannot read the kubeconfig "${file}": ${codeOf(cause)}`,
        {
          cause,
          hint: "Name one with --kubeconfig or KUBECONFIG.",
        },
      );
    });
    if (text === undefined) continue;
    read += 1;
    const config = parsed(text, file);
    current ??= textOf(config["current-context"]);
    for (const [kind, one] of [
      ["contexts", "context"],
      ["clusters", "cluster"],
      ["users", "user"],
    ] as const) {
      for (const item of listOf(config[kind])) {
        const name = textOf(recordOf(item)["name"]);
        // The first that has a name keeps it.
        if (name === undefined || found[kind].has(name)) continue;
        found[kind].set(name, {
          value: recordOf(recordOf(item)[one]),
          folder: dirname(resolve(file)),
        });
      }
    }
  }
  const where = files.join(delimiter);
  if (read === 0) throw new Failure("cluster-invalid", `There is no kubeconfig at "${where}"`);
  const wanted = context ?? current;
  if (wanted === undefined) {
    throw new Failure("cluster-invalid", `The kubeconfig "${where}" has no current-context`, {
      hint: `Name one with --context: ${[...found.contexts.keys()].join(", ")}.`,
    });
  }
  const chosen = named(found.contexts, wanted, "context", where);
  const cluster = named(found.clusters, textOf(chosen.value["cluster"]) ?? "", "cluster", where);
  const userName = textOf(chosen.value["user"]);
  const user =
    userName === undefined
      ? { value: {}, folder: cluster.folder }
      : named(found.users, userName, "user", where);
  const address = textOf(cluster.value["server"]) ?? "";
  const server = URL.parse(address);
  if (server?.protocol !== "https:" && server?.protocol !== "http:") {
    throw new Failure(
      "cluster-invalid",
      `The cluster's server "${address}" is no http or https URL`,
      {
        hint: `Correct it in "${where}".`,
      },
    );
  }
  const ca = await dataOr(cluster, "certificate-authority");
  const cert = await dataOr(user, "client-certificate");
  const key = await dataOr(user, "client-key");
  const servername = textOf(cluster.value["tls-server-name"]);
  const login = await loginOf(user, environment);
  return {
    server,
    namespace: textOf(chosen.value["namespace"]) ?? "default",
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(servername === undefined ? {} : { servername }),
      ...(cluster.value["insecure-skip-tls-verify"] === true ? { rejectUnauthorized: false } : {}),
    },
    ...login,
  };
}

async function loginOf(
  { value, folder }: Named,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Pick<Access, "authorization" | "forget">> {
  const token = textOf(value["token"]);
  const file = textOf(value["tokenFile"]);
  if (file !== undefined) return tokenFile(resolve(folder, file));
  if (token !== undefined) return { authorization: async () => `Bearer ${token}` };
  const username = textOf(value["username"]);
  if (username !== undefined) {
    const pair = Buffer.from(`${username}:${textOf(value["password"]) ?? ""}`).toString("base64");
    return { authorization: async () => `Basic ${pair}` };
  }
  const exec = value["exec"];
  if (typeof exec === "object" && exec !== null)
    return execLogin(recordOf(exec), folder, environment);
  return { authorization: async () => undefined };
}

/** Tokens of pods are replaced in their file before they expire. */
const tokenFreshMs = 10_000;

function tokenFile(path: string): Pick<Access, "authorization" | "forget"> {
  let known: { readonly token: string; readonly until: number } | undefined;
  return {
    async authorization() {
      if (!known || known.until < performance.now()) {
        const token = (
          await readFile(path, "utf8").catch((cause: unknown) => {
            throw new Failure(
              "cluster-refused",
              `Cannot read the token "${path}": ${codeOf(cause)}`,
              { cause },
            );
          })
        ).trim();
        known = { token, until: performance.now() + tokenFreshMs };
      }
      return `Bearer ${known.token}`;
    },
    forget() {
      known = undefined;
    },
  };
}

const run = promisify(execFile);
const execMs = 60_000;
/** A token is not used to its last moment. */
const earlyMs = 30_000;

/** A program that gives a token (client.authentication.k8s.io). */
function execLogin(
  exec: Json,
  folder: string,
  environment: Readonly<Record<string, string | undefined>>,
): Pick<Access, "authorization" | "forget"> {
  const command = textOf(exec["command"]) ?? "";
  const path = command.includes("/") ? resolve(folder, command) : command;
  const args = listOf(exec["args"]).map(String);
  const own = Object.fromEntries(
    listOf(exec["env"]).map((item) => [
      String(recordOf(item)["name"]),
      textOf(recordOf(item)["value"]) ?? "",
    ]),
  );
  const apiVersion = textOf(exec["apiVersion"]) ?? "client.authentication.k8s.io/v1";
  let known: { readonly token: string; readonly until: number } | undefined;
  let asking: Promise<string> | undefined;
  const ask = async (): Promise<string> => {
    const info = { apiVersion, kind: "ExecCredential", spec: { interactive: false } };
    try {
      const { stdout } = await run(path, args, {
        env: { ...environment, ...own, KUBERNETES_EXEC_INFO: JSON.stringify(info) },
        timeout: execMs,
      });
      const status = recordOf(recordOf(JSON.parse(stdout))["status"]);
      const token = textOf(status["token"]);
      if (token === undefined) throw new Error("it gave no token");
      const expires = Date.parse(textOf(status["expirationTimestamp"]) ?? "");
      const leftMs = Number.isNaN(expires)
        ? Number.POSITIVE_INFINITY
        : expires - Date.now() - earlyMs;
      known = { token, until: performance.now() + leftMs };
      return token;
    } catch (cause) {
      const said = cause instanceof Error && "stderr" in cause ? String(cause.stderr).trim() : "";
      const reason = said || (cause instanceof Error ? cause.message : String(cause));
      throw new Failure(
        "cluster-refused",
        `"${command}" gave no credentials: ${reason.slice(0, 500)}`,
        {
          cause,
          hint: textOf(exec["installHint"]) ?? "Run it by hand to see why.",
        },
      );
    }
  };
  return {
    async authorization() {
      if (known && known.until > performance.now()) return `Bearer ${known.token}`;
      asking ??= ask().finally(() => (asking = undefined));
      return `Bearer ${await asking}`;
    },
    forget() {
      known = undefined;
    },
  };
}

async function dataOr({ value, folder }: Named, key: string): Promise<string | undefined> {
  const data = textOf(value[`${key}-data`]);
  if (data !== undefined) return Buffer.from(data, "base64").toString();
  const file = textOf(value[key]);
  if (file === undefined) return undefined;
  return readFile(resolve(folder, file), "utf8").catch((cause: unknown) => {
    throw new Failure("cluster-invalid", `Cannot read "${file}" (${key}): ${codeOf(cause)}`, {
      cause,
    });
  });
}

const configBytes = 4 * 1024 * 1024;

function parsed(text: string, file: string): Json {
  if (text.length > configBytes)
    throw new Failure("cluster-invalid", `"${file}" is too large for a kubeconfig`);
  try {
    return recordOf(parse(text));
  } catch (cause) {
    // The parser's words show a part of the text, which has secrets in it.
    throw new Failure("cluster-invalid", `The kubeconfig "${file}" is no YAML`, { cause });
  }
}

function named(all: ReadonlyMap<string, Named>, name: string, what: string, where: string): Named {
  const found = all.get(name);
  if (found) return found;
  throw new Failure("cluster-invalid", `The kubeconfig "${where}" has no ${what} "${name}"`, {
    hint: `It has: ${[...all.keys()].slice(0, 20).join(", ") || "none"}.`,
  });
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
}
