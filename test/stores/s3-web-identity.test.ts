import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Failure } from "../../src/errors/mod.ts";
import type { S3Credentials, WebIdentity } from "../../src/stores/mod.ts";
import { answering, kit, stores, type Kit } from "./s3-kit.ts";

const roleA = "arn:aws:iam::1:role/a";
const roleB = "arn:aws:iam::1:role/b";
const roleAnnotation = "eks.amazonaws.com/role-arn";

interface Account extends WebIdentity {
  readonly annotations: Record<string, string>;
  /** Audiences of the tokens that were made. */
  readonly made: string[];
}

function account(name: string, annotations: Record<string, string> = {}): Account {
  const made: string[] = [];
  return {
    name,
    annotations,
    made,
    annotation: async (key) => annotations[key],
    token: async (audience) => `token-${made.push(audience)}-of-${name}`,
  };
}

/** A token service that gives each role a session of its own at the store. */
async function tokenService(
  k: Kit,
  { untilMs = 3_600_000, before = [] }: { untilMs?: number; before?: (string | number)[] } = {},
): Promise<
  AsyncDisposable & { readonly url: string; readonly asked: Readonly<Record<string, string>>[] }
> {
  const asked: Record<string, string>[] = [];
  const server = await answering((request, body) => {
    const fields = Object.fromEntries(new URLSearchParams(body));
    const by = /Credential=(\w+)/.exec(request.headers.authorization ?? "")?.[1];
    asked.push({ ...fields, ...(by === undefined ? {} : { by }) });
    const first = before.shift();
    if (first !== undefined) return first;
    const key = `KEY${asked.length}`;
    k.server.sessions.set(key, { secretKey: `${key}-secret`, token: `${key}-token` });
    return credentials(fields["Action"] ?? "", {
      accessKey: key,
      secretKey: `${key}-secret`,
      token: `${key}-token`,
      untilMs,
    });
  });
  return {
    url: server.url,
    asked,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function credentials(
  action: string,
  given: { accessKey: string; secretKey: string; token: string; untilMs: number },
): string {
  const until = new Date(Date.now() + given.untilMs).toISOString();
  return `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result><Credentials><AccessKeyId>${given.accessKey}</AccessKeyId><SecretAccessKey>${given.secretKey}</SecretAccessKey><SessionToken>${given.token}</SessionToken><Expiration>${until}</Expiration></Credentials></${action}Result></${action}Response>`;
}

const refusal = (code: string, message: string): string =>
  `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error><RequestId>1</RequestId></ErrorResponse>`;

type Web = Extract<S3Credentials, { readonly kind: "web-identity" }>;
const as = (identity: WebIdentity, more: Partial<Web> = {}): Web => ({
  kind: "web-identity",
  identity,
  asked: true,
  ...more,
});

describe("S3, as somebody whom an issuer vouches for", () => {
  test("his role is taken on once for many requests, and by nobody else", async () => {
    await using k = await kit();
    await using sts = await tokenService(k);
    await using opened = stores(k.path, { environment: { AWS_ENDPOINT_URL_STS: sts.url } });
    await k.server.put("artifacts", "x", Buffer.from("x"));
    const red = account("The service account team/red", { [roleAnnotation]: roleA });
    const blue = account("The service account team/blue", { [roleAnnotation]: roleB });
    for (const identity of [red, blue, red, blue, red]) {
      await opened.download(k.at("x", { credentials: as(identity) }), await k.empty());
    }
    const common = { Action: "AssumeRoleWithWebIdentity", Version: "2011-06-15" };
    assert.deepEqual(sts.asked, [
      {
        ...common,
        RoleArn: roleA,
        RoleSessionName: "atalanta-The.service.account.team.red",
        WebIdentityToken: "token-1-of-The service account team/red",
      },
      {
        ...common,
        RoleArn: roleB,
        RoleSessionName: "atalanta-The.service.account.team.blue",
        WebIdentityToken: "token-1-of-The service account team/blue",
      },
    ]);
    assert.deepEqual([red.made, blue.made], [["sts.amazonaws.com"], ["sts.amazonaws.com"]]);
    const keys = k.server.seen.map(({ headers }) => headers["x-amz-security-token"]);
    assert.deepEqual(keys, ["KEY1-token", "KEY2-token", "KEY1-token", "KEY2-token", "KEY1-token"]);
  });

  test("another audience is what his annotation says, and what ends is had anew with a new token, as the annotations are then", async () => {
    await using k = await kit();
    await using sts = await tokenService(k, { untilMs: 60_000 });
    await using opened = stores(k.path, { environment: { AWS_ENDPOINT_URL_STS: sts.url } });
    await k.server.put("artifacts", "x", Buffer.from("x"));
    const red = account("red", {
      [roleAnnotation]: roleA,
      "eks.amazonaws.com/audience": "mine",
    });
    const at = k.at("x", { credentials: as(red) });
    await opened.download(at, await k.empty());
    red.annotations[roleAnnotation] = roleB;
    await opened.download(at, await k.empty());
    assert.deepEqual(red.made, ["mine", "mine"]);
    assert.deepEqual(
      sts.asked.map(({ RoleArn, WebIdentityToken }) => [RoleArn, WebIdentityToken]),
      [
        [roleA, "token-1-of-red"],
        [roleB, "token-2-of-red"],
      ],
    );
  });

  test("a role of the place comes after his own, by a signature, or stands alone where he has none", async () => {
    await using k = await kit();
    await using sts = await tokenService(k);
    await using opened = stores(k.path, { environment: { AWS_ENDPOINT_URL_STS: sts.url } });
    await k.server.put("artifacts", "x", Buffer.from("x"));
    const bring = async (identity: WebIdentity, roleArn: string): Promise<void> => {
      const at = k.at("x", { credentials: as(identity, { roleArn }) });
      await opened.download(at, await k.empty());
    };
    const taken = (): unknown =>
      sts.asked.splice(0).map(({ Action, RoleArn, by }) => [Action, RoleArn, by]);
    await bring(account("red", { [roleAnnotation]: roleA }), roleB);
    assert.deepEqual(taken(), [
      ["AssumeRoleWithWebIdentity", roleA, undefined],
      ["AssumeRole", roleB, "KEY1"],
    ]);
    await bring(account("blue"), roleB);
    assert.deepEqual(taken(), [["AssumeRoleWithWebIdentity", roleB, undefined]]);
    await bring(account("green", { [roleAnnotation]: roleB }), roleB);
    assert.deepEqual(taken(), [["AssumeRoleWithWebIdentity", roleB, undefined]]);
  });

  test("who has no role is told so when one was asked for, and is nobody else", async () => {
    await using k = await kit();
    await using sts = await tokenService(k);
    const own = { AWS_ACCESS_KEY_ID: k.server.accessKey, AWS_SECRET_ACCESS_KEY: "secret" };
    await using opened = stores(k.path, {
      environment: { AWS_ENDPOINT_URL_STS: sts.url, ...own },
    });
    await k.server.put("artifacts", "x", Buffer.from("x"));
    const red = account("The service account team/red");
    const bring = async (credentials: Web): Promise<unknown> =>
      opened.download(k.at("x", { credentials }), await k.empty());
    await assert.rejects(bring(as(red)), {
      code: "secret-missing",
      message: /The service account team\/red has no role at Amazon's/,
      hint: /eks\.amazonaws\.com\/role-arn/,
    });
    assert.equal(k.server.seen.length, 0);
    // The stand-in has nothing for nobody.
    await assert.rejects(bring(as(red, { asked: false })), { message: /AccessDenied/ });
    const unread: WebIdentity = {
      ...account("unread"),
      annotation: async () => {
        throw new Failure("cluster-refused", "Not yours");
      },
    };
    await assert.rejects(bring(as(unread, { asked: false })), { message: /AccessDenied/ });
    await assert.rejects(bring(as(unread)), { code: "cluster-refused" });
    assert(k.server.seen.every(({ headers }) => headers.authorization === undefined));
    red.annotations[roleAnnotation] = roleA;
    await bring(as(red, { asked: false }));
    assert.equal(sts.asked.length, 1);
  });

  test("a refusal is told in the service's words without the token, and one that may pass is asked again", async () => {
    await using k = await kit();
    await using refusing = await answering((_request, body) => ({
      status: 400,
      text: refusal(
        "InvalidIdentityToken",
        `No provider for ${new URLSearchParams(body).get("WebIdentityToken")}`,
      ),
    }));
    await k.server.put("artifacts", "x", Buffer.from("x"));
    const red = account("red", { [roleAnnotation]: roleA });
    const bring = async (url: string): Promise<unknown> => {
      await using opened = stores(k.path, { environment: { AWS_ENDPOINT_URL_STS: url } });
      return await opened.download(k.at("x", { credentials: as(red) }), await k.empty());
    };
    await assert.rejects(bring(refusing.url), (thrown: Error & { hint?: string }) => {
      assert.match(thrown.message, /role\/a" at 127.*InvalidIdentityToken: No provider for \*\*\*/);
      assert.match(thrown.hint ?? "", /trust policy/);
      return true;
    });
    assert.equal(refusing.asked.length, 1);
    await using passing = await tokenService(k, { before: [503, 429] });
    await bring(passing.url);
    assert.equal(passing.asked.length, 3);
    red.annotations[roleAnnotation] = "not a role";
    await assert.rejects(bring(passing.url), { code: "invalid-argument", message: /no role/ });
  });

  test("credentials that the store does not take any more are had anew", async () => {
    await using k = await kit();
    await using sts = await tokenService(k);
    await using opened = stores(k.path, { environment: { AWS_ENDPOINT_URL_STS: sts.url } });
    await k.server.put("artifacts", "x", Buffer.from("x"));
    const at = k.at("x", {
      credentials: as(account("red", { [roleAnnotation]: roleA })),
    });
    await opened.download(at, await k.empty());
    k.server.expired.add("KEY1-token");
    await opened.download(at, await k.empty());
    assert.equal(sts.asked.length, 2);
  });
});
