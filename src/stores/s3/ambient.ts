import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../../errors/mod.ts";
import { addressRules, privateAddresses } from "../../network/mod.ts";
import { retried } from "../retries.ts";
import type { StoreContext } from "../stores.ts";
import type { Manner } from "../transport.ts";
import { Trouble } from "../trouble.ts";
import { checked, expiring, type Expiring } from "./expiring.ts";
import type { Identities } from "./identities.ts";
import { renewed } from "./renewed.ts";
import { assumeRole, assumeRoleWithWebIdentity, type Sts } from "./sts.ts";

const findMs = 60_000;
/** Metadata services are near or not there at all. */
const nearMs = 2000;
const answerBytes = 64 * 1024;

/** Where clouds tell a machine or a container its keys. Nothing but this asks there. */
const metadataAddresses = [
  "169.254.169.254",
  "fd00:ec2::254",
  "169.254.170.2",
  "169.254.170.23",
  "fd00:ec2::23",
];

/** Who this machine is, found as Amazon's own clients find it; then in another role, where one is named. Kept and refreshed. */
export function ambient(
  context: StoreContext,
  {
    roleArn,
    region,
  }: { readonly roleArn?: string | undefined; readonly region?: string | undefined },
): Identities {
  const chain = new Chain(context, region);
  const find = async (signal: AbortSignal): Promise<Expiring> => {
    const own = await chain.find(signal);
    return roleArn === undefined ? own : assumeRole(chain.sts, own.identity, roleArn, signal);
  };
  return renewed(find, { mostMs: findMs, region: chain.region });
}

/** The places where credentials are looked for, in the order of Amazon's clients. */
class Chain {
  readonly #context: StoreContext;
  readonly #environment: StoreContext["environment"];
  readonly #metadata: Manner;
  readonly region: string | undefined;
  readonly sts: Sts;

  constructor(context: StoreContext, region: string | undefined) {
    this.#context = context;
    this.#environment = context.environment;
    const variable = (name: string): string | undefined => this.#variable(name);
    this.region = region ?? variable("AWS_REGION") ?? variable("AWS_DEFAULT_REGION");
    const allowedAddresses = [...privateAddresses, ...metadataAddresses];
    this.#metadata = { rules: addressRules({ allowedAddresses }), direct: true };
    this.sts = {
      context,
      region: this.region,
      endpoint: variable("AWS_ENDPOINT_URL_STS"),
      session: variable("AWS_ROLE_SESSION_NAME") ?? `atalanta-${Date.now()}`,
    };
  }

  async find(signal: AbortSignal): Promise<Expiring> {
    for (const look of [
      () => this.#variables(),
      () => this.#webIdentity(signal),
      () => this.#sharedFile(),
      () => this.#container(signal),
      () => this.#machine(signal),
    ]) {
      const found = await look();
      if (found) return found;
    }
    throw new Failure("secret-missing", "This machine has no identity at Amazon's", {
      hint: "Name accessKeySecret and secretKeySecret, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a web identity, a profile, or a role of the machine.",
    });
  }

  #variables(): Expiring | undefined {
    const accessKey = this.#variable("AWS_ACCESS_KEY_ID");
    const secretKey = this.#variable("AWS_SECRET_ACCESS_KEY");
    if (accessKey === undefined || secretKey === undefined) return undefined;
    const sessionToken = this.#variable("AWS_SESSION_TOKEN");
    return { identity: checked({ accessKey, secretKey, sessionToken }, "the environment") };
  }

  async #webIdentity(signal: AbortSignal): Promise<Expiring | undefined> {
    const file = this.#variable("AWS_WEB_IDENTITY_TOKEN_FILE");
    const roleArn = this.#variable("AWS_ROLE_ARN");
    if (file === undefined || roleArn === undefined) return undefined;
    // It is replaced while we run.
    const token = await read(file, "AWS_WEB_IDENTITY_TOKEN_FILE");
    return assumeRoleWithWebIdentity(this.sts, { roleArn, token: token.trim() }, signal);
  }

  async #sharedFile(): Promise<Expiring | undefined> {
    const home = this.#variable("HOME");
    const named = this.#variable("AWS_SHARED_CREDENTIALS_FILE");
    const file = named ?? (home === undefined ? undefined : join(home, ".aws", "credentials"));
    const wanted = this.#variable("AWS_PROFILE");
    const profile = wanted ?? "default";
    const text =
      file === undefined ? undefined : await readFile(file, "utf8").catch(() => undefined);
    const values = text === undefined ? undefined : section(text, profile);
    const accessKey = values?.get("aws_access_key_id");
    const secretKey = values?.get("aws_secret_access_key");
    if (accessKey !== undefined && secretKey !== undefined) {
      const sessionToken = values?.get("aws_session_token");
      return { identity: checked({ accessKey, secretKey, sessionToken }, `"${file}"`) };
    }
    if (wanted === undefined) return undefined;
    throw new Failure("secret-missing", `The profile "${profile}" has no keys in "${file}"`, {
      hint: "Profiles with a login or a program of their own are not supported: give keys, or leave AWS_PROFILE out.",
    });
  }

  async #container(signal: AbortSignal): Promise<Expiring | undefined> {
    const relative = this.#variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const full = this.#variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (relative === undefined && full === undefined) return undefined;
    const url = URL.parse(
      relative === undefined ? (full ?? "") : `http://169.254.170.2${relative}`,
    );
    if (!url || !/^https?:$/.test(url.protocol)) {
      throw new Failure("invalid-argument", "AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL of HTTP");
    }
    const file = this.#variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const token =
      file === undefined
        ? this.#variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        : (await read(file, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")).trim();
    const text = await this.#near(
      "GET",
      url,
      token === undefined ? {} : { authorization: token },
      signal,
    );
    return fromJson(text, url);
  }

  /** The role of a machine, by version 2 of the service alone: version 1 answers anybody who can make us send a GET. */
  async #machine(signal: AbortSignal): Promise<Expiring | undefined> {
    if (this.#variable("AWS_EC2_METADATA_DISABLED")?.toLowerCase() === "true") return undefined;
    const named = this.#variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const base = URL.parse(named ?? "http://169.254.169.254");
    if (!base) throw new Failure("invalid-argument", "AWS_EC2_METADATA_SERVICE_ENDPOINT is no URL");
    let token;
    try {
      const seconds = { "x-aws-ec2-metadata-token-ttl-seconds": "21600", "content-length": "0" };
      token = await this.#near("PUT", new URL("/latest/api/token", base), seconds, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      // No such service: this is no machine of theirs.
      if (thrown instanceof Failure && named === undefined) return undefined;
      throw thrown;
    }
    const headers = { "x-aws-ec2-metadata-token": token };
    const path = "/latest/meta-data/iam/security-credentials/";
    const names = await this.#near("GET", new URL(path, base), headers, signal);
    const [role = ""] = names.trim().split("\n");
    const url = new URL(`${path}${encodeURIComponent(role)}`, base);
    return fromJson(await this.#near("GET", url, headers, signal), url);
  }

  /** Asks a service of the cloud's that is at most a hop away. */
  #near(
    method: string,
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<string> {
    const { transport, retries } = this.#context;
    return retried({ ...retries, attempts: Math.min(retries.attempts, 3) }, signal, async () => {
      const soon = AbortSignal.timeout(nearMs);
      const both = AbortSignal.any([signal, soon]);
      try {
        const answer = await transport.call({
          method,
          url,
          headers,
          manner: this.#metadata,
          signal: both,
        });
        const text = (await transport.small(answer, answerBytes, both)).toString();
        if (answer.status === 200) return text;
        const again = answer.status >= 500 || answer.status === 429;
        throw new Trouble(
          again ? "store-unavailable" : "store-refused",
          `${url.host}, which gives this machine its credentials, answered ${answer.status}`,
          again ? { againMs: 0 } : {},
        );
      } catch (thrown) {
        if (!soon.aborted || signal.aborted) throw thrown;
        throw new Trouble(
          "store-unavailable",
          `${url.host}, which gives this machine its credentials, does not answer`,
        );
      }
    });
  }

  #variable(name: string): string | undefined {
    const value = this.#environment[name];
    return value === undefined || value === "" ? undefined : value;
  }
}

async function read(file: string, variable: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new Failure("secret-missing", `Cannot read "${file}", which ${variable} names`, {
      cause,
    });
  }
}

/** Values of one section of an INI file. */
function section(text: string, name: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  let inside = false;
  for (const line of text.split("\n")) {
    const heading = /^\s*\[\s*(.*?)\s*\]/.exec(line);
    if (heading) inside = heading[1] === name;
    const [, key, value] = /^\s*([\w-]+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (inside && key !== undefined && value !== undefined) values.set(key, value);
  }
  return values;
}

function fromJson(text: string, url: URL): Expiring {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Said below.
  }
  if (
    typeof value === "object" &&
    value !== null &&
    "AccessKeyId" in value &&
    "SecretAccessKey" in value
  ) {
    const { AccessKeyId: accessKey, SecretAccessKey: secretKey } = value;
    const sessionToken = "Token" in value ? value.Token : undefined;
    const until = "Expiration" in value ? value.Expiration : undefined;
    if (
      typeof accessKey === "string" &&
      typeof secretKey === "string" &&
      (sessionToken === undefined || typeof sessionToken === "string")
    ) {
      return expiring({ accessKey, secretKey, sessionToken }, until, url.host);
    }
  }
  throw new Trouble("store-refused", `${url.host} gives no credentials that can be read`);
}
