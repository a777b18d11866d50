import { createHash } from "node:crypto";
import { Failure } from "../../errors/mod.ts";
import { retried } from "../retries.ts";
import type { StoreContext } from "../stores.ts";
import { Trouble } from "../trouble.ts";
import { expiring, type Expiring } from "./expiring.ts";
import { readError, troubleOf } from "./answers.ts";
import { regionPattern } from "./endpoint.ts";
import { sign, type Identity } from "./signature.ts";
import { parseXml, textOf } from "../xml.ts";

/** Amazon's service that gives roles to whoever may have them. */
export interface Sts {
  readonly context: StoreContext;
  readonly region: string | undefined;
  /** Another one than Amazon's. */
  readonly endpoint: string | undefined;
  /** How this use of a role is called in logs. */
  readonly session: string;
}

const answerBytes = 64 * 1024;

/** A role for somebody who is known already. */
export function assumeRole(
  sts: Sts,
  identity: Identity,
  roleArn: string,
  signal: AbortSignal,
): Promise<Expiring> {
  return ask(sts, { Action: "AssumeRole", RoleArn: roleArn }, { identity, signal });
}

/** A role for whoever has a token of an issuer that it trusts. */
export function assumeRoleWithWebIdentity(
  sts: Sts,
  { roleArn, token }: { readonly roleArn: string; readonly token: string },
  signal: AbortSignal,
): Promise<Expiring> {
  const parameters = {
    Action: "AssumeRoleWithWebIdentity",
    RoleArn: roleArn,
    WebIdentityToken: token,
  };
  return ask(sts, parameters, { secret: token, signal });
}

async function ask(
  sts: Sts,
  parameters: Readonly<Record<string, string>>,
  options: {
    readonly identity?: Identity;
    readonly secret?: string;
    readonly signal: AbortSignal;
  },
): Promise<Expiring> {
  const { context } = sts;
  const { identity, signal } = options;
  const region = sts.region ?? "us-east-1";
  const url = urlOf(sts.endpoint, region);
  const body = Buffer.from(
    new URLSearchParams({
      ...parameters,
      RoleSessionName: sts.session,
      Version: "2011-06-15",
    }).toString(),
  );
  const plain = {
    host: url.host,
    "user-agent": "atalanta",
    "content-type": "application/x-www-form-urlencoded",
    "content-length": String(body.length),
  };
  const what = `Cannot take the role "${parameters["RoleArn"]}" at ${url.host}`;
  return retried(context.retries, signal, async () => {
    const payload = createHash("sha256").update(body).digest("hex");
    const request = { method: "POST", url, headers: plain, payload };
    const headers = identity
      ? sign(request, identity, { region, service: "sts", date: new Date() })
      : plain;
    const manner = context.manner({ ofOperator: true });
    const { transport } = context;
    const answer = await transport.call({
      method: "POST",
      url,
      headers,
      manner,
      body: [body],
      signal,
    });
    const text = (await transport.small(answer, answerBytes, signal)).toString();
    if (answer.status !== 200) {
      const secrets = [options.secret, identity?.sessionToken, identity?.secretKey];
      const trouble = troubleOf(
        readError(answer, text),
        answer,
        secrets.filter((one) => one !== undefined),
      );
      throw new Trouble(trouble.code, `${what}: ${trouble.message}`, {
        ...(trouble.againMs === undefined ? {} : { againMs: trouble.againMs }),
        hint: "Does the role exist, and does its trust policy name this identity?",
      });
    }
    const found = parseXml(text)
      .children.flatMap(({ children }) => children)
      .find(({ name }) => name === "Credentials");
    const [accessKey, secretKey] = [
      found && textOf(found, "AccessKeyId"),
      found && textOf(found, "SecretAccessKey"),
    ];
    if (!found || accessKey === undefined || secretKey === undefined)
      throw new Trouble("store-refused", `${what}: it answered without credentials`);
    const sessionToken = textOf(found, "SessionToken");
    return expiring({ accessKey, secretKey, sessionToken }, textOf(found, "Expiration"), url.host);
  });
}

function urlOf(endpoint: string | undefined, region: string): URL {
  if (!regionPattern.test(region))
    throw new Failure("invalid-argument", `"${region}" is no region`, {
      hint: "Write one such as eu-west-1.",
    });
  const suffix = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  const url = URL.parse(endpoint ?? `https://sts.${region}.${suffix}`);
  if (url && /^https?:$/.test(url.protocol)) return new URL("/", url);
  throw new Failure("invalid-argument", "AWS_ENDPOINT_URL_STS is no URL of HTTP");
}
