import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { StoresOptions } from "../../src/stores/mod.ts";
import { answering, kit, stores, type Kit } from "./s3-kit.ts";

const soon = (ms: number): string => new Date(Date.now() + ms).toISOString();

const none = { AWS_EC2_METADATA_DISABLED: "true" };

/** Brings an object as this machine; fails unless the server knows it. */
async function bring(
  k: Kit,
  environment: StoresOptions["environment"],
  more: { readonly roleArn?: string; readonly times?: number } = {},
): Promise<void> {
  await k.server.put("artifacts", "x", Buffer.from("x"));
  await using opened = stores(k.path, { environment: environment ?? {} });
  const { times = 1, ...role } = more;
  for (let time = 0; time < times; time++) {
    const at = k.at("x", { ofOperator: true, credentials: { kind: "ambient", ...role } });
    await opened.download(at, await k.empty());
  }
}

function stsAnswer(k: Kit, name: string, until = soon(3_600_000)): string {
  k.server.sessions.set(name, { secretKey: `${name}-secret`, token: `${name}-token` });
  return `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>${name}</AccessKeyId><SecretAccessKey>${name}-secret</SecretAccessKey><SessionToken>${name}-token</SessionToken><Expiration>${until}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`;
}

function json(k: Kit, name: string, until = soon(3_600_000)): string {
  k.server.sessions.set(name, { secretKey: `${name}-secret`, token: `${name}-token` });
  return JSON.stringify({
    Code: "Success",
    AccessKeyId: name,
    SecretAccessKey: `${name}-secret`,
    Token: `${name}-token`,
    Expiration: until,
  });
}

describe("S3, who this machine is", () => {
  test("a workflow's endpoint never gets this machine's identity", async () => {
    await using k = await kit();
    await using opened = stores(k.path, {
      environment: {
        AWS_ACCESS_KEY_ID: k.server.accessKey,
        AWS_SECRET_ACCESS_KEY: k.server.secretKey,
      },
    });
    const at = k.at("x", { credentials: { kind: "ambient" } });
    await assert.rejects(opened.download(at, await k.empty()), {
      code: "secret-missing",
      message: /for the operator's repository alone/,
    });
    assert.deepEqual(k.server.seen, []);
  });

  test("by variables", async () => {
    await using k = await kit();
    await bring(k, {
      AWS_ACCESS_KEY_ID: k.server.accessKey,
      AWS_SECRET_ACCESS_KEY: k.server.secretKey,
    });
  });

  test("by variables with a session token, and a region", async () => {
    await using k = await kit({ region: "eu-west-1" });
    k.server.sessions.set("ASIA", { secretKey: "s", token: "t" });
    await bring(k, {
      AWS_ACCESS_KEY_ID: "ASIA",
      AWS_SECRET_ACCESS_KEY: "s",
      AWS_SESSION_TOKEN: "t",
      AWS_REGION: "eu-west-1",
    });
    assert.deepEqual(
      k.server.seen.map(({ status }) => status),
      [206],
    );
  });

  test("by a profile of the shared file", async () => {
    await using k = await kit();
    const file = join(k.path, "credentials");
    const { accessKey, secretKey } = k.server;
    await writeFile(
      file,
      `# keys\n[default]\naws_access_key_id = nobody\naws_secret_access_key=no\n\n[ work ]\naws_access_key_id=${accessKey}\n  aws_secret_access_key = ${secretKey}\n`,
    );
    await bring(k, { AWS_SHARED_CREDENTIALS_FILE: file, AWS_PROFILE: "work" });
    await assert.rejects(bring(k, { AWS_SHARED_CREDENTIALS_FILE: file }), {
      message: /InvalidAccessKeyId/,
    });
    await assert.rejects(bring(k, { AWS_SHARED_CREDENTIALS_FILE: file, AWS_PROFILE: "sso" }), {
      code: "secret-missing",
      message: /The profile "sso" has no keys/,
    });
  });

  test("by a web identity, whose token is read anew each time", async () => {
    await using k = await kit();
    const file = join(k.path, "token");
    await writeFile(file, "token-1\n");
    const seen: URLSearchParams[] = [];
    await using sts = await answering((_request, body) => {
      seen.push(new URLSearchParams(body));
      // Ends so soon that the next use asks again.
      return stsAnswer(k, `ROLE${seen.length}`, soon(60_000));
    });
    const environment = {
      AWS_WEB_IDENTITY_TOKEN_FILE: file,
      AWS_ROLE_ARN: "arn:aws:iam::1:role/a",
      AWS_ROLE_SESSION_NAME: "me",
      AWS_ENDPOINT_URL_STS: sts.url,
    };
    await bring(k, environment, { times: 2 });
    await writeFile(file, "token-2");
    await bring(k, environment);
    const [first] = seen;
    assert.deepEqual(Object.fromEntries(first ?? []), {
      Action: "AssumeRoleWithWebIdentity",
      RoleArn: "arn:aws:iam::1:role/a",
      RoleSessionName: "me",
      Version: "2011-06-15",
      WebIdentityToken: "token-1",
    });
    assert.equal(seen.at(-1)?.get("WebIdentityToken"), "token-2");
    assert(seen.length > 2);
  });

  test("a web identity that is refused is told without its token", async () => {
    await using k = await kit();
    const file = join(k.path, "token");
    await writeFile(file, "a-token-of-the-cluster");
    await using sts = await answering(() => 403);
    const environment = {
      AWS_WEB_IDENTITY_TOKEN_FILE: file,
      AWS_ROLE_ARN: "arn:aws:iam::1:role/a",
      AWS_ENDPOINT_URL_STS: sts.url,
    };
    await assert.rejects(bring(k, environment), (thrown: Error & { hint?: string }) => {
      assert.match(thrown.message, /Cannot take the role "arn:aws:iam::1:role\/a" at 127/);
      assert.match(thrown.hint ?? "", /trust policy/);
      assert(!JSON.stringify(thrown).includes("a-token-of"));
      return true;
    });
  });

  test("in another role, asked for with a signature, once for many uses", async () => {
    await using k = await kit();
    const signatures: string[] = [];
    await using sts = await answering((request, body) => {
      signatures.push(String(request.headers.authorization));
      return new URLSearchParams(body).get("Action") === "AssumeRole" ? stsAnswer(k, "OTHER") : 400;
    });
    const environment = {
      AWS_ACCESS_KEY_ID: "BASE",
      AWS_SECRET_ACCESS_KEY: "base",
      AWS_ENDPOINT_URL_STS: sts.url,
      AWS_REGION: "us-east-1",
    };
    await bring(k, environment, { roleArn: "arn:aws:iam::1:role/b", times: 3 });
    assert.equal(signatures.length, 1);
    assert.match(signatures[0] ?? "", /Credential=BASE\/\d{8}\/us-east-1\/sts\/aws4_request/);
  });

  test("by the role of a container, with the token from its file", async () => {
    await using k = await kit();
    const file = join(k.path, "token");
    await writeFile(file, "pod-token\n");
    await using agent = await answering((request) =>
      request.headers.authorization === "pod-token" ? json(k, "POD") : 401,
    );
    await bring(k, {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${agent.url}/v1/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file,
    });
    assert.deepEqual(agent.asked, ["GET /v1/credentials"]);
  });

  test("by the role of a machine, with a token of its metadata service", async () => {
    await using k = await kit();
    let gone = 1;
    await using metadata = await answering(({ method, url, headers }) => {
      if (gone-- > 0) return 503;
      if (url === "/latest/api/token")
        return method === "PUT" && headers["x-aws-ec2-metadata-token-ttl-seconds"] ? "v2" : 400;
      if (headers["x-aws-ec2-metadata-token"] !== "v2") return 401;
      return url?.endsWith("/") === true ? "my-role" : json(k, "MACHINE");
    });
    await bring(k, { AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url }, { times: 2 });
    assert.deepEqual(metadata.asked, [
      "PUT /latest/api/token",
      "PUT /latest/api/token",
      "GET /latest/meta-data/iam/security-credentials/",
      "GET /latest/meta-data/iam/security-credentials/my-role",
    ]);
  });

  test("credentials that the store does not take any more are fetched anew", async () => {
    await using k = await kit();
    let number = 0;
    await using agent = await answering(() => json(k, `POD${++number}`));
    k.server.expired.add("POD1-token");
    await bring(k, { AWS_CONTAINER_CREDENTIALS_FULL_URI: agent.url });
    assert.equal(number, 2);
  });

  test("credentials that end soon are still good where new ones cannot be had", async () => {
    await using k = await kit();
    let number = 0;
    await using agent = await answering(() =>
      number++ === 0 ? json(k, "POD", soon(60_000)) : 400,
    );
    await bring(k, { AWS_CONTAINER_CREDENTIALS_FULL_URI: agent.url }, { times: 2 });
    assert(number > 1);
  });

  test("a machine without any identity is told what there may be", async () => {
    await using k = await kit();
    await assert.rejects(bring(k, none), {
      code: "secret-missing",
      message: /This machine has no identity at Amazon's/,
      hint: /AWS_ACCESS_KEY_ID/,
    });
  });
});
