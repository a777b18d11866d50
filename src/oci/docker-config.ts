import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../errors/mod.ts";
import { bestMatch, parseAuthFile, type AuthFile, type Where } from "./auth-file.ts";
import type { Credential, Credentials } from "./credentials.ts";
import { askHelper } from "./helper.ts";

export interface DockerConfigOptions {
  /** For the variables that name files, and for the programs that are run. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The user's folder. */
  readonly home: string;
  /** How long a program may take; default 30 s, as some ask a service themselves. */
  readonly helperMs?: number;
}

const fileBytes = 1024 * 1024;
const helperMs = 30_000;

/**
 * The logins that docker and podman keep for the user. Files are read when a login is wanted, so one that is made meanwhile counts. The first that knows a login
 * counts: `$REGISTRY_AUTH_FILE` alone, where it is set; else `$DOCKER_CONFIG/config.json` where that is set, `$XDG_RUNTIME_DIR/containers/auth.json`,
 * `~/.config/containers/auth.json`, and `~/.docker/config.json` where `DOCKER_CONFIG` is not set.
 */
export function dockerCredentials(options: DockerConfigOptions): Credentials {
  return {
    async find(where, { signal }) {
      for (const { path, required } of files(options)) {
        const file = await read(path, required);
        const found = file && (await find(file, where, { options, signal }));
        if (found) return found;
      }
      return undefined;
    },
  };
}

function files({ environment, home }: DockerConfigOptions): readonly {
  readonly path: string;
  readonly required?: string;
}[] {
  const variable = (name: string): string | undefined => {
    const value = environment[name];
    return value === "" ? undefined : value;
  };
  const one = variable("REGISTRY_AUTH_FILE");
  if (one !== undefined) return [{ path: one, required: "REGISTRY_AUTH_FILE" }];
  const docker = variable("DOCKER_CONFIG");
  const runtime = variable("XDG_RUNTIME_DIR");
  const configuration = variable("XDG_CONFIG_HOME") ?? join(home, ".config");
  return [
    ...(docker === undefined ? [] : [{ path: join(docker, "config.json") }]),
    ...(runtime === undefined ? [] : [{ path: join(runtime, "containers/auth.json") }]),
    { path: join(configuration, "containers/auth.json") },
    ...(docker === undefined ? [{ path: join(home, ".docker/config.json") }] : []),
  ];
}

async function read(path: string, required: string | undefined): Promise<AuthFile | undefined> {
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > fileBytes) throw new Error(`it has ${size} bytes; ${fileBytes} may be`);
    text = await readFile(path, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (required === undefined && (code === "ENOENT" || code === "ENOTDIR")) return undefined;
    const named = required === undefined ? "" : `, which ${required} names`;
    const reason = code === undefined && cause instanceof Error ? cause.message : String(code);
    throw new Failure("secret-missing", `Cannot read "${path}"${named}: ${reason}`, { cause });
  }
  return parseAuthFile(text, `"${path}"`);
}

async function find(
  file: AuthFile,
  where: Where,
  { options, signal }: { options: DockerConfigOptions; signal: AbortSignal },
): Promise<Credential | undefined> {
  const helper = bestMatch(file.helpers, where) ?? file.store;
  const known = bestMatch(file.logins, where);
  if (helper === undefined) return known;
  // The name under which docker keeps the hub's login.
  const server = where.registry === "docker.io" ? "https://index.docker.io/v1/" : where.registry;
  const { environment } = options;
  const timeMs = options.helperMs ?? helperMs;
  return (await askHelper(helper, server, { environment, timeMs, signal })) ?? known;
}
