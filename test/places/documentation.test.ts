import assert from "node:assert/strict";
import { copyFileSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { root } from "../cli/command.ts";
import { startS3, type S3Server } from "../servers/s3.ts";
import { act, User } from "./setting.ts";

const page = readFileSync(join(root, "docs/artifacts.md"), "utf8");
const blocks = new Map(
  [...page.matchAll(/```yaml\n# ([^\n]*)\n([^`]*)```/g)].map(([, title = "", text = ""]) => [
    title,
    text,
  ]),
);
const commands = [...page.matchAll(/^\$ atalanta (.*)$/gm)].map(([, line = ""]) => line);

let s3: S3Server;
before(async () => {
  s3 = await startS3();
  s3.bucket("workflows");
  await s3.put("workflows", "texts/words.txt", Buffer.from("some words"));
});
after(() => s3[Symbol.asyncDispose]());

function block(title: string): string {
  const text = blocks.get(title);
  assert(text !== undefined, `the page has no block "${title}"`);
  return text.replaceAll("minio.internal:9000", s3.endpoint);
}

describe("docs/artifacts.md", () => {
  test("has commands that do what the page says, one after the other", async () => {
    using user = new User();
    user.home.environment["MINIO_USER"] = s3.accessKey;
    user.home.environment["MINIO_PASSWORD"] = s3.secretKey;
    copyFileSync(act, join(user.folder, "act.wasm"));
    for (const name of ["operator.yaml", "report.yaml", "named.yaml"]) user.file(name, block(name));
    assert.equal(commands.length, 6);
    const printed: string[] = [];
    for (const line of commands) {
      const words = line
        .split(" ")
        .map((word) => (/\.yaml$|^out$|^copies$/.test(word) ? join(user.folder, word) : word));
      const ended = await user.run(...words);
      assert.equal(ended.status, 0, `${line}\n${ended.stdout}${ended.stderr}`);
      printed.push(ended.stdout);
      if (!line.startsWith("run")) continue;
      assert.deepEqual(readdirSync(join(user.folder, "out")).toSorted(), ["copy", "page"]);
      const keys = [...s3.bucket("workflows").keys()].toSorted();
      const [page1 = "", copy = "", log = "", ...others] = keys;
      assert.equal(page1, "pages/report.txt");
      assert.match(copy, /^runs\/report\/[^/]+\/copy\.tgz$/);
      assert.match(log, /^runs\/report\/[^/]+\/main\.log$/);
      assert.deepEqual(others, ["texts/words.txt"]);
    }
    assert.match(printed[4] ?? "", /some words/);
    const left = [...s3.bucket("workflows").keys()].toSorted();
    assert.deepEqual(left, ["pages/report.txt", "texts/words.txt"]);
    const named = await user.run(
      "run",
      join(user.folder, "report.yaml"),
      "--config",
      join(user.folder, "named.yaml"),
    );
    assert.equal(named.status, 1, "the workflow names none of them, and its key is nowhere else");
  });

  test("has places that are read as they stand there, with secrets for their hosts", async () => {
    using user = new User();
    user.home.environment["ANY"] = "any";
    const secret = (host: string, ...keys: readonly string[]): object =>
      Object.fromEntries(keys.map((key) => [key, { fromEnv: "ANY", hosts: [host] }]));
    const config = user.file(
      "all.yaml",
      JSON.stringify({
        secrets: {
          aws: secret("s3.amazonaws.com", "access", "secret"),
          api: secret("api.example.com", "user", "password"),
          google: secret("storage.googleapis.com", "account"),
          azure: secret("acme.blob.core.windows.net", "key"),
          jfrog: secret("acme.jfrog.io", "user", "password"),
          oss: secret("oss-cn-hangzhou.aliyuncs.com", "access", "secret"),
        },
      }),
    );
    const indented = (text: string, by: number): string =>
      text.replaceAll(/^(?=.)/gm, " ".repeat(by));
    const file = user.file(
      "places.yaml",
      `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: { generateName: places- }
spec:
  entrypoint: main
  templates:
    - name: main
      wasm: { image: a }
${indented(block("places: template"), 6)}      inputs:
        artifacts:
${indented(block("places: inputs"), 10)}`,
    );
    const linted = await user.run("lint", "--strict", file, "--config", config);
    assert.equal(linted.status, 0, linted.stdout + linted.stderr);
  });
});
