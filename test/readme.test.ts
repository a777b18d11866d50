import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Home, root } from "./cli/command.ts";
import { putArtifact } from "./oci/images.ts";
import { envelope, keys, putSignature, putSigned } from "./oci/signing.ts";
import { StandInRegistry } from "./servers/registry.ts";

const readme = readFileSync(join(root, "README.md"), "utf8");

/** Stands for the registries that the examples name. */
const pair = keys("ec");
let server: StandInRegistry;
before(async () => {
  server = await StandInRegistry.start();
  const module = readFileSync(join(root, "test/guests/hello/hello.wasm"));
  for (const [repository, tag] of [
    ["acme/step", "1"],
    ["acme/step", "1.2"],
    ["acme/split-pages", "1.2"],
  ] as const) {
    const { digest } = putArtifact(server, { repository, tag, module });
    putSignature(server, { repository, digest, pair });
    const predicateType = "https://slsa.dev/provenance/v1";
    putSigned(server, {
      repository,
      tag: `${digest.replace(":", "-")}.att`,
      layers: [
        {
          mediaType: "application/vnd.dsse.envelope.v1+json",
          bytes: envelope(digest, { predicateType, predicate: {}, pair }),
        },
      ],
    });
  }
});
after(() => server[Symbol.asyncDispose]());

test("the workflow in the README is the example that its commands name", () => {
  const [, shown = ""] = /```yaml\n([\s\S]*?) *```/.exec(readme) ?? [];
  assert.equal(
    shown.replaceAll(/^ {3}/gm, ""),
    readFileSync(join(root, "examples/first/workflow.yaml"), "utf8"),
  );
});

describe("README", () => {
  const commands = [...readme.matchAll(/^(?: *|\$ )npx atalanta (.+)$/gm)].map(
    ([, line = ""]) => line,
  );
  assert.ok(commands.length >= 4);
  for (const line of commands) {
    test(`atalanta ${line}`, async () => {
      using home = new Home();
      await prepare(home, line);
      const started = home.start(wordsOf(line, home, server.host));
      started.process.stdin?.end();
      assert.equal(await started.ended, 0, started.stderr);
      assert.notEqual(started.stdout, "");
    });
  }
});

test("the commands of docs/images.md do what it says, one after the other", async () => {
  const text = readFileSync(join(root, "docs/images.md"), "utf8");
  const commands = [...text.matchAll(/^npx atalanta (.+)$/gm)].map(([, line = ""]) => line);
  assert.ok(commands.length >= 11);
  using home = new Home();
  for (const line of commands) {
    const words = wordsOf(line, home, server.host);
    if (line.startsWith("image verify")) {
      writeFileSync(join(home.folder, "cosign.pub"), pair.publicPem);
      const digest = [...(server.manifests.get("acme/hello")?.keys() ?? [])].find((key) => key.startsWith("sha256:")) ?? assert.fail(); // prettier-ignore
      putSignature(server, { repository: "acme/hello", digest, pair });
    }
    const started = home.start(words);
    started.process.stdin?.end();
    assert.equal(await started.ended, 0, `${line}\n${started.stderr}`);
    assert.notEqual(started.stdout, "", line);
    if (line === "exec ghcr.io/acme/probe:1") assert.match(started.stdout, /^GREETING=hello$/m);
  }
});

describe("--help", () => {
  using home = new Home();
  const names = [...home.run(["--help"]).stdout.matchAll(/^ {2}([a-z]+) {2,}/gm)].map(
    ([, name = ""]) => name,
  );
  // Those that need a cluster are run by test/cluster.
  const onCluster = new Set(["agent", "doctor", "submit", "webhook"]);
  // Those that need a server are run by test/functions.
  const onServer = new Set([
    "serve",
    "token",
    "runner",
    "call",
    "deploy",
    "functions",
    "types",
    "top",
  ]);
  const within = [
    ...home.run(["image", "--help"]).stdout.matchAll(/^ {2}([a-z]+)(?:\|[a-z]+)? [[<]/gm),
  ].map(([, name = ""]) => ["image", name]);
  assert.ok(within.length > 3);
  const pages = [
    [],
    ...names
      .filter((name) => name !== "help" && !onCluster.has(name) && !onServer.has(name))
      .map((name) => [name]),
    ...within,
  ];
  const lines = new Set(
    pages.flatMap((page) =>
      [...home.run([...page, "--help"]).stdout.matchAll(/^ {2}atalanta (.+)$/gm)].map(
        ([, line = ""]) => line,
      ),
    ),
  );
  assert.ok(lines.size > 20);
  test("shows no default that is an empty list", () => {
    for (const page of pages) assert.doesNotMatch(home.run([...page, "--help"]).stdout, /\[\]/);
  });
  for (const line of lines) {
    test(`atalanta ${line}`, async () => {
      using own = new Home();
      await prepare(own, line);
      // The registry that is asked is in this process.
      const started = own.start(wordsOf(line, own, server.host));
      started.process.stdin?.end();
      assert.equal(await started.ended, 0, started.stderr);
    });
  }
});

/** Words of an example; what it writes goes to the test's own folder, and what a shell would do with its output is left out. */
function wordsOf(line: string, home: Home, registry: string): string[] {
  return line
    .replace(/(?:ghcr\.io|localhost:5000)(?=\/(?:acme|step))/g, registry)
    .replace("cosign.pub", join(home.folder, "cosign.pub"))
    .replace(`${registry}/step`, `${registry}/acme/step`)
    .replace("--output-dir out", `--output-dir ${join(home.folder, "out")}`)
    .replace(/^(cp \S+) out/, `$1 ${join(home.folder, "out")}`)
    .replace(
      "exec guest.wasm --dir ./in:/in:ro",
      "exec test/guests/probe/probe.wasm --dir examples/words:/in:ro",
    )
    .replace(/-- arg1 arg2$/, "-- ls /in")
    .replace(/ >>? .*$/, "")
    .replace(/ +#.*$/, "")
    .split(" ");
}

/** What an example takes for granted: a run of that name, in the state that the command is for. */
async function prepare(home: Home, line: string): Promise<void> {
  const words = [
    "run",
    "examples/words/workflow.yaml",
    "-a",
    "doc=LICENSE",
    "--quiet",
    "--name",
    "my-run",
  ];
  const [verb = ""] = line.split(" ");
  writeFileSync(join(home.folder, "cosign.pub"), pair.publicPem);
  if (["resume", "suspend", "stop", "terminate"].includes(verb)) {
    const file =
      line === "resume @latest" ? "test/workflows/suspend-resume.yaml" : "test/cli/approve.yaml";
    const started = home.start(["run", file, "--name", "my-run"]);
    await started.prints(/waits for resume/);
    started.process.kill("SIGINT");
    assert.equal(await started.ended, 130);
  } else if (verb === "retry" && !line.includes("--restart-successful")) {
    const nowhere = "ghcr.io/atalanta-examples/words:1=/nowhere.wasm";
    assert.equal(home.run([...words, "--image", nowhere]).status, 1);
  } else if (["get", "logs", "cp", "watch", "wait", "retry", "delete", "list"].includes(verb)) {
    assert.equal(home.run(words).status, 0);
  }
}
