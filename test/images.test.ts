import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { tar } from "./archives/tar.ts";
import { Home, jsonLines, root } from "./cli/command.ts";
import { hello, putArtifact, putWasiImage } from "./oci/images.ts";
import { keys, putSignature } from "./oci/signing.ts";
import { digestOf, StandInRegistry } from "./servers/registry.ts";

using stack = new DisposableStack();
const home = stack.use(new Home());
const kept = stack.move();
after(() => kept.dispose());
const probe = readFileSync(join(root, "test/guests/probe/probe.wasm"));

/** Runs a command while the registry, which is in this process, answers. */
async function atalanta(
  ...words: readonly string[]
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const started = home.start(words);
  started.process.stdin?.end();
  const status = await started.ended;
  return { status, stdout: started.stdout, stderr: started.stderr };
}

function workflow(name: string, steps: string): string {
  const path = join(home.folder, `${name}.yaml`);
  writeFileSync(
    path,
    `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: ${name.replaceAll("/", "-")}-}
spec:
  entrypoint: main
  templates:
${steps}`,
  );
  return path;
}

describe("A workflow with an image", () => {
  test("pulls it once, runs its entry point with its environment and files, and records its digest", async () => {
    await using server = await StandInRegistry.start();
    const { digest } = putWasiImage(server, {
      repository: "acme/probe",
      tag: "1",
      archives: [
        tar({ name: "bin/probe.wasm", body: probe }, { name: "etc/greeting", body: "good day" }),
      ],
      run: {
        Entrypoint: ["/bin/probe.wasm", "cat"],
        Cmd: ["/etc/greeting"],
        Env: ["A=image", "B=image"],
      },
    });
    const path = workflow(
      "own",
      `
  - name: main
    steps:
    - - {name: own, template: own}
      - {name: args, template: args}
    - - {name: env, template: env}
      - {name: write, template: write}
  - name: own
    wasm: {image: "${server.host}/acme/probe:1"}
  - name: args
    wasm: {image: "${server.host}/acme/probe:1", args: [/etc/greeting]}
  - name: env
    wasm: {image: "${server.host}/acme/probe:1", command: [env], env: [{name: B, value: step}]}
  - name: write
    wasm: {image: "${server.host}/acme/probe:1", command: [write, /etc/greeting, x]}
`,
    );
    const { stdout, stderr } = await atalanta("run", path, "--json", "--log");
    const said = (name: string): string =>
      jsonLines(stdout)
        .filter((line) => line["type"] === "output" && String(line["name"]).includes(name))
        .map((line) => String(line["text"]))
        .join("\n");
    assert.equal(said("own"), "good day", stdout + stderr);
    assert.equal(said("args"), "good day");
    assert.match(said("env"), /^A=image$/m);
    assert.match(said("env"), /^B=step$/m);
    assert.match(said("write"), /Read-only file system/);
    assert.equal(server.seen.filter(({ url }) => url.includes("/manifests/1")).length, 1);
    const moved = jsonLines(stdout).filter(({ type }) => type === "transfer");
    assert.deepEqual([...new Set(moved.map(({ artifact }) => artifact))], [`${server.host}/acme/probe:1`]); // prettier-ignore
    assert.ok(moved.some(({ bytes }) => Number(bytes) > 0));
    assert.equal(server.seen.filter(({ url }) => url.includes("/blobs/")).length, 2);
    const got = await atalanta("get", "@latest", "-o", "json");
    assert.ok(got.stdout.includes(digest), got.stdout);
  });

  test("has the same module from its first step to its last, whatever becomes of the tag", async () => {
    let moved = false;
    await using server = await StandInRegistry.start({
      fault: ({ url = "" }) => {
        if (!moved && url.includes("/blobs/")) {
          moved = true;
          setImmediate(() =>
            putArtifact(server, { repository: "acme/step", tag: "latest", module: probe }),
          );
        }
        return undefined;
      },
    });
    const { digest } = putArtifact(server, {
      repository: "acme/step",
      tag: "latest",
      module: hello,
    });
    const path = workflow(
      "same",
      `
  - name: main
    steps:
    - - {name: a, template: step}
    - - {name: b, template: step}
  - name: step
    wasm: {image: "${server.host}/acme/step"}
`,
    );
    const first = await atalanta("run", path, "--json", "--log");
    assert.equal(first.status, 0, first.stdout + first.stderr);
    assert.equal(jsonLines(first.stdout).filter(({ text }) => text === "hello").length, 2);
    const { stdout } = await atalanta("get", "@latest", "-o", "json");
    assert.equal(stdout.split(digest).length - 1, 2, stdout);
    // The next run has what the tag names now.
    const next = await atalanta("run", path, "--json", "--log");
    assert.equal(next.status, 1, next.stdout);
  });

  test("has the same module after a pause, in another process, when the tag names a component by then", async () => {
    await using server = await StandInRegistry.start();
    const put = (module: Buffer): { readonly digest: string } =>
      putArtifact(server, { repository: "acme/step", tag: "latest", module });
    const { digest } = put(hello);
    const path = workflow(
      "paused",
      `
  - name: main
    steps:
    - - {name: a, template: step}
    - - {name: wait, template: wait}
    - - {name: b, template: step}
  - name: wait
    suspend: {}
  - name: step
    wasm: {image: "${server.host}/acme/step"}
`,
    );
    const begun = home.start(["run", path, "--name", "paused"]);
    begun.process.stdin?.end();
    await begun.prints(/waits for resume/);
    begun.process.kill("SIGKILL");
    await begun.ended;
    put(Buffer.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]));
    assert.match((await atalanta("image", "prune", "--all")).stdout, /removed/);
    const resumed = await atalanta("resume", "paused", "--quiet");
    assert.equal(resumed.status, 0, resumed.stderr);
    const { stdout } = await atalanta("get", "paused", "-o", "json");
    assert.equal(stdout.split(digest).length - 1, 2, stdout);
    const now = await atalanta("exec", `${server.host}/acme/step`);
    assert.match(now.stderr, /module-component/);
  });

  test("runs it in a process of its owner's as well", async () => {
    await using server = await StandInRegistry.start();
    putWasiImage(server, {
      repository: "acme/probe",
      tag: "1",
      archives: [
        tar(
          { name: "p.wasm", body: probe },
          { name: "etc/small", body: "small" },
          { name: "etc/large", body: "l".repeat(100_000) },
        ),
      ],
      run: { Entrypoint: ["/p.wasm"] },
    });
    const path = workflow(
      "process",
      `
  - name: main
    steps:
    - - {name: small, template: cat, arguments: {parameters: [{name: file, value: /etc/small}]}}
    - - {name: write, template: write}
    - - {name: large, template: copy}
  - name: cat
    inputs: {parameters: [{name: file}]}
    wasm: {image: "${server.host}/acme/probe:1", trust: process, command: [cat, "{{inputs.parameters.file}}"]}
  - name: write
    wasm: {image: "${server.host}/acme/probe:1", trust: process, command: [write, /tmp/new, x]}
  - name: copy
    wasm: {image: "${server.host}/acme/probe:1", trust: process, command: [copy, /etc/large, /tmp/large]}
    outputs: {artifacts: [{name: large, path: /tmp/large}]}
`,
    );
    const { status, stdout, stderr } = await atalanta("run", path, "--json", "--log");
    assert.equal(status, 0, stdout + stderr);
    assert.ok(jsonLines(stdout).some(({ text }) => text === "small"));
  });

  test("sees an artifact's folder in place of the image's, and its file beside the image's", async () => {
    await using server = await StandInRegistry.start();
    putWasiImage(server, {
      repository: "acme/over",
      tag: "1",
      archives: [
        tar(
          { name: "p.wasm", body: probe },
          { name: "data/old", body: "old" },
          { name: "etc/a", body: "of the image" },
          { name: "etc/b", body: "of the image" },
        ),
      ],
      run: { Entrypoint: ["/p.wasm"] },
    });
    const image = `${server.host}/acme/over:1`;
    const path = workflow(
      "over",
      `
  - name: main
    steps:
    - - {name: make, template: make}
    - - {name: ls, template: ls, arguments: {artifacts: [{name: in, from: "{{steps.make.outputs.artifacts.out}}"}]}}
      - {name: etc, template: etc}
      - {name: cat, template: cat}
  - name: make
    wasm: {image: "${image}", command: [write, /out/new, x]}
    outputs: {artifacts: [{name: out, path: /out}], parameters: [{name: new, valueFrom: {path: /out/new}}]}
  - name: ls
    inputs: {artifacts: [{name: in, path: /data}]}
    wasm: {image: "${image}", command: [ls, /data]}
  - name: etc
    inputs: {artifacts: [{name: a, path: /etc/a, raw: {data: given}}]}
    wasm: {image: "${image}", command: [cat, /etc/a]}
  - name: cat
    wasm: {image: "${image}", command: [cat, /etc/b]}
`,
    );
    const { status, stdout, stderr } = await atalanta("run", path, "--json", "--log");
    assert.equal(status, 0, stdout + stderr);
    const said = jsonLines(stdout).flatMap(({ text }) => (typeof text === "string" ? [text] : []));
    assert.deepEqual(said.toSorted(), [".", "..", "given", "new", "of the image"]);
  });

  test("that cannot be had says why, and what to do", async () => {
    await using server = await StandInRegistry.start({
      access: { kind: "basic", username: "u", password: "p" },
    });
    const run = async (image: string, more = ""): Promise<string> => {
      const path = workflow(
        "no",
        `
  - name: main
    wasm: {image: "${image}"${more}}
`,
      );
      const { status, stderr } = await atalanta("run", path);
      assert.equal(status, 1, stderr);
      return stderr;
    };
    assert.match(await run(`${server.host}/a:1`), /registry-refused/);
    assert.match(await run("127.0.0.1:1/a:1"), /registry-unavailable/);
    assert.match(await run("A B"), /is no image reference/);
    assert.match(
      await run(`${server.host}/a:1`, ", imagePullPolicy: Never"),
      /is not here, and is not to be pulled/,
    );
  });
});

describe("What the operator says of images", () => {
  test("is heard by exec, too: its registries and its policy", async () => {
    const folder = join(root, "test/network/tls");
    const file = (name: string): string => readFileSync(join(folder, name), "utf8");
    await using server = await StandInRegistry.start({
      tls: { key: file("host.key"), cert: file("host.pem") },
    });
    putArtifact(server, { repository: "acme/hello", tag: "1", module: hello });
    const { host } = server;
    const config = join(home.folder, "exec.yaml");
    const registries = `registries:\n  "${host}": {plainHttp: false, caFile: ${join(folder, "authority.pem")}}\n`;
    writeFileSync(config, registries);
    const image = `${host}/acme/hello:1`;
    const ran = await atalanta("exec", "--config", config, image);
    assert.deepEqual([ran.status, ran.stdout], [0, "hello\n"], ran.stderr);
    writeFileSync(
      config,
      `${registries}policy:\n  images:\n  - {match: "${host}/**", pinned: true}\n`,
    );
    const refused = await atalanta("exec", "--config", config, image);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /image-policy.*by digest \(.*exec\.yaml:5\)/);
    // A file that is named by hand is its user's own word.
    const own = await atalanta("exec", "--config", config, "test/guests/hello/hello.wasm");
    assert.deepEqual([own.status, own.stdout], [0, "hello\n"], own.stderr);
  });

  test("is heard by exec, too: its limits, which an option may raise", async () => {
    const config = join(home.folder, "limits.yaml");
    writeFileSync(config, "limits: {moduleSize: 1Ki}\n");
    const file = "test/guests/probe/probe.wasm";
    const refused = await atalanta("exec", "--config", config, file, "env");
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, /moduleSize/);
    const raised = ["--limit", "moduleSize=16Mi"];
    assert.equal((await atalanta("exec", "--config", config, ...raised, file, "env")).status, 0);
  });

  test("is what a registry needs that speaks HTTPS at this machine, and its refusal says so", async () => {
    await using server = await StandInRegistry.start({
      fault: () => ({
        kind: "answer",
        status: 400,
        body: "Client sent an HTTP request to an HTTPS server.",
      }),
    });
    const { status, stderr } = await atalanta("image", "pull", `${server.host}/a:1`);
    assert.equal(status, 1);
    assert.match(stderr, /answered 400/);
    assert.ok(
      stderr.includes(`write plainHttp: false under registries: "${server.host}":`),
      stderr,
    );
  });
});

describe("atalanta inspect", () => {
  test("asks no registry for an image that its step never pulls", async () => {
    await using server = await StandInRegistry.start();
    putArtifact(server, { repository: "acme/never", tag: "1", module: hello });
    const path = workflow(
      "never",
      `
  - name: main
    wasm: {image: "${server.host}/acme/never:1", imagePullPolicy: Never}
`,
    );
    const missing = await atalanta("inspect", path);
    assert.equal(missing.status, 1);
    assert.match(missing.stdout, /is not here, and is not to be pulled/);
    assert.equal(server.seen.length, 0);
    await atalanta("image", "pull", `${server.host}/acme/never:1`);
    const here = await atalanta("inspect", path);
    assert.equal(here.status, 0, here.stdout + here.stderr);
  });
});

describe("atalanta image push, copy and verify", () => {
  test("a module that is pushed in any form can be run, and is the same whenever it is pushed", async () => {
    await using server = await StandInRegistry.start();
    const module = "test/guests/probe/probe.wasm";
    for (const packaging of ["cncf", "wasi-image", "wasm-to-oci", "compat"]) {
      const to = `${server.host}/acme/${packaging}:1`;
      const first = await atalanta("image", "push", "--packaging", packaging, module, to);
      assert.equal(first.status, 0, first.stderr);
      assert.match(first.stderr, / sent$/m);
      const again = await atalanta("image", "push", "--packaging", packaging, module, to);
      assert.equal(again.stdout, first.stdout);
      assert.doesNotMatch(again.stderr, / sent$/m);
      const { stdout, stderr } = await atalanta("exec", first.stdout.trim(), "--", "args", "x");
      assert.match(stdout, /x/, stderr);
    }
    const to = `${server.host}/acme/more:1`;
    const words = ["--packaging", "wasi-image", "--entrypoint", "/bin/probe", "--cmd", "env", "--env", "A=b", "--annotation", "x=y"]; // prettier-ignore
    assert.equal((await atalanta("image", "push", ...words, module, to)).status, 0);
    assert.match((await atalanta("exec", to)).stdout, /^A=b$/m);
    for (const wrong of [
      [module, `${to}@sha256:${"a".repeat(64)}`],
      ["package.json", to],
      ["nowhere.wasm", to],
      ["--cmd", "x", module, to],
    ]) {
      const { status, stderr } = await atalanta("image", "push", ...wrong);
      assert.notEqual(status, 0, stderr);
      assert.match(stderr, /^error\[/);
    }
  });

  test("a copy is the same image, with its signatures, and only what is signed may run", async () => {
    await using server = await StandInRegistry.start();
    await using other = await StandInRegistry.start();
    const pair = keys("ec");
    const key = join(home.folder, "ours.pub");
    writeFileSync(key, pair.publicPem);
    const from = `${server.host}/acme/step:1`;
    const pushed = await atalanta("image", "push", "--json", "test/guests/hello/hello.wasm", from);
    const [{ digest } = {}] = jsonLines(pushed.stdout);
    assert.ok(typeof digest === "string", pushed.stderr);
    const config = join(home.folder, "operator.yaml");
    writeFileSync(
      config,
      `policy:
  images:
  - match: "${server.host}/acme/*"
    signedBy: [{key: ours.pub}]
  - match: "${other.host}/**"
    pinned: true
    signedBy: [{key: ours.pub}]
`,
    );
    const path = workflow(
      "signed",
      `
  - name: main
    wasm: {image: "${from}"}
`,
    );
    const unsigned = await atalanta("run", path, "--config", config);
    assert.equal(unsigned.status, 1);
    assert.match(
      unsigned.stderr,
      /image-policy.*no signature by the key "ours\.pub".*operator\.yaml:3\)/,
    );
    const nobody = await atalanta("image", "verify", "--key", key, from);
    assert.equal(nobody.status, 1);
    assert.ok(nobody.stderr.includes(`${from}@${digest}: it has no signature`), nobody.stderr);
    putSignature(server, { repository: "acme/step", digest, pair });
    const verified = await atalanta("image", "verify", "--key", key, from);
    assert.equal(
      verified.stdout,
      `${from}@${digest}: signed by the key "${key}"\n`,
      verified.stderr,
    );
    assert.match(
      (await atalanta("image", "verify", "--config", config, from)).stdout,
      /the policy allows it/,
    );
    assert.equal((await atalanta("run", path, "--config", config)).status, 0);
    const to = `${other.host}/copies/step:2`;
    const copied = await atalanta("image", "copy", from, to);
    assert.equal(copied.stdout, `${to}@${digest}\n`, copied.stderr);
    assert.equal((await atalanta("image", "verify", "--key", key, to)).status, 0);
    const byTag = workflow(
      "bytag",
      `
  - name: main
    wasm: {image: "${to}"}
`,
    );
    const refused = await atalanta("run", byTag, "--config", config);
    assert.match(refused.stderr, /image-policy.*by digest/);
    const byDigest = workflow(
      "bydigest",
      `
  - name: main
    wasm: {image: "${to}@${digest}"}
`,
    );
    assert.equal((await atalanta("run", byDigest, "--config", config)).status, 0);
  });

  test("an index is copied with all that it names", async () => {
    await using server = await StandInRegistry.start();
    await using other = await StandInRegistry.start();
    const one = putArtifact(server, { repository: "a", module: hello });
    const two = putArtifact(server, { repository: "a", module: probe });
    const type = "application/vnd.oci.image.manifest.v1+json";
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.index.v1+json",
        manifests: [
          { mediaType: type, ...one, platform: { os: "wasip1", architecture: "wasm" } },
          { mediaType: type, ...two, platform: { os: "linux", architecture: "amd64" } },
        ],
      }),
    );
    server.putManifest("a", "1", index, "application/vnd.oci.image.index.v1+json");
    const { stdout, stderr } = await atalanta(
      "image",
      "copy",
      `${server.host}/a:1`,
      `${other.host}/b:1`,
    );
    assert.equal(stdout, `${other.host}/b:1@${digestOf(index)}\n`, stderr);
    assert.ok(other.manifests.get("b")?.has(two.digest));
    assert.equal((await atalanta("exec", `${other.host}/b:1`)).stdout, "hello\n");
  });

  test("a policy reaches module files wherever they are named, and container steps", async () => {
    const config = join(home.folder, "files.yaml");
    const module = join(root, "test/guests/hello/hello.wasm");
    const beside = join(home.folder, "beside");
    mkdirSync(beside);
    writeFileSync(join(beside, "atalanta.yaml"), `images: {"ghcr.io/a/b:1": ${module}}\n`);
    const image = workflow(
      "beside/image",
      `\n  - name: main\n    wasm: {image: "ghcr.io/a/b:1"}\n`,
    );
    writeFileSync(config, "policy: {files: deny, containers: deny, otherwise: allow}\n");
    for (const path of [
      workflow("file", `\n  - name: main\n    wasm: {module: ${module}}\n`),
      workflow(
        "inline",
        `\n  - name: main\n    steps: [[{name: a, inline: {wasm: {module: ${module}}}}]]\n`,
      ),
      image,
      workflow("contained", `\n  - name: main\n    container: {image: alpine, command: [ls]}\n`),
    ]) {
      const { status, stderr } = await atalanta("run", path, "--config", config);
      assert.notEqual(status, 0);
      assert.match(stderr, /image-policy.*(?:hello\.wasm|container steps)/, path);
    }
    writeFileSync(config, "policy: {files: allow}\n");
    assert.equal((await atalanta("run", image, "--config", config)).status, 0);
    writeFileSync(config, "policy: {}\n");
    const own = ["--config", config, "--image", `ghcr.io/a/b:1=${module}`];
    const named = await atalanta("run", workflow("named", `\n  - name: main\n    wasm: {image: "ghcr.io/a/b:1"}\n`), ...own); // prettier-ignore
    assert.equal(named.status, 0, named.stderr);
  });

  test("what a policy has wrong is told with its place", async () => {
    const config = join(home.folder, "wrong.yaml");
    writeFileSync(join(home.folder, "no.pub"), "no key");
    for (const [text, word] of [
      ["images: [{match: 'A B'}]", "is no pattern"],
      ["images: [{match: a, signedBy: [{key: nowhere.pub}]}]", "nowhere.pub"],
      ["images: [{match: a, signedBy: [{key: no.pub}]}]", "is no public key"],
      ["images: [{match: a, signedBy: [{issuer: x}]}]", "neither key nor root"],
      ["images: [{match: a, attestations: [{type: x}]}]", "nobody is named"],
      ["otherwise: maybe", "Write allow or deny"],
      ["rules: []", "Unknown key"],
    ] as const) {
      writeFileSync(config, `policy: {${text}}\n`);
      const { status, stderr } = await atalanta(
        "image",
        "pull",
        "--config",
        config,
        "ghcr.io/a/b:1",
      );
      assert.equal(status, 2, stderr);
      assert.ok(stderr.includes(word), stderr);
    }
  });
});

describe("atalanta image", () => {
  test("pulls, lists, shows and removes images", async () => {
    await using server = await StandInRegistry.start();
    const { digest } = putWasiImage(server, {
      repository: "acme/step",
      tag: "1",
      archives: [tar({ name: "step.wasm", body: hello }, { name: "etc/a", body: "a" })],
      run: { Entrypoint: ["/step.wasm", "-v"], Env: ["A=1"], WorkingDir: "/etc" },
    });
    const name = `${server.host}/acme/step:1`;
    assert.match((await atalanta("image", "prune", "--all")).stdout, /removed/);
    assert.equal((await atalanta("image", "ls")).stdout, "No images here\n");
    const pulled = await atalanta("image", "pull", name);
    assert.equal(pulled.stdout, `${name}@${digest}\n`, pulled.stderr);
    const [listed] = jsonLines((await atalanta("image", "ls", "--json")).stdout);
    assert.deepEqual(
      [listed?.["digest"], listed?.["references"], listed?.["moduleDigest"], listed?.["inUse"]],
      [digest, [name], digestOf(hello), false],
    );
    const second = `localhost:${server.port}/acme/step:1`;
    await atalanta("image", "pull", second);
    const lines = (await atalanta("image", "ls")).stdout;
    for (const each of [name, second])
      assert.match(lines, new RegExp(`^${each} +sha256:.*wasi-image`, "m"));
    const [shown] = jsonLines((await atalanta("image", "inspect", "--json", name)).stdout);
    assert.deepEqual(
      [shown?.["entrypoint"], shown?.["environment"], shown?.["workingDir"], shown?.["files"]],
      [
        ["/step.wasm", "-v"],
        ["A=1"],
        "/etc",
        [
          { kind: "directory", path: "/etc" },
          { kind: "file", path: "/etc/a" },
        ],
      ],
    );
    assert.match(
      (await atalanta("image", "inspect", name)).stdout,
      /^entrypoint {2}\["\/step.wasm","-v"\]$/m,
    );
    assert.match((await atalanta("inspect", name)).stdout, /fd_write/);
    assert.equal((await atalanta("exec", name)).stdout, "hello\n");
    assert.equal((await atalanta("image", "prune")).stdout, "0 images removed, 0 B freed\n");
    const pruned = (await atalanta("image", "prune", "--max-bytes", "1")).stdout;
    for (const each of [name, second])
      assert.ok(
        pruned.includes(`${each} removed
`),
        pruned,
      );
    assert.match(pruned, /^1 image removed, .* freed$/m);
    const missing = await atalanta("image", "pull", `${server.host}/acme/step:2`);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /image-not-found/);
    assert.equal((await atalanta("image", "pull", "A")).status, 2);
  });

  test("keeps as many of them as the operator says", async () => {
    await using server = await StandInRegistry.start();
    putArtifact(server, { repository: "one", tag: "1", module: hello });
    putArtifact(server, { repository: "two", tag: "1", module: probe });
    const config = join(home.folder, "cache.yaml");
    const pull = (size: string): Promise<{ status: number | null; stderr: string }> => {
      writeFileSync(config, `imageCache: {size: ${size}}\n`);
      return atalanta("image", "pull", "--config", config, `${server.host}/one:1`, `${server.host}/two:1`); // prettier-ignore
    };
    assert.equal((await pull("1000")).status, 0);
    assert.match((await atalanta("image", "ls", "-q")).stdout, /^[^\n]*two:1@\S+\n$/);
    const wrong = await pull("much");
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /cache\.yaml:1:20.*imageCache\.size: "much" is not a size/);
  });
});
