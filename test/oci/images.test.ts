import { setTimeout as sleep } from "node:timers/promises";
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import {
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { Failure } from "../../src/errors/mod.ts";
import { defaultLimits } from "../../src/limits/mod.ts";
import { LockFile } from "../../src/locks/mod.ts";
import {
  openImages,
  openRegistry,
  type Image,
  type ImagePolicy,
  type Images,
  type ImagesOptions,
} from "../../src/oci/mod.ts";
import { tar } from "../archives/tar.ts";
import { digestOf, StandInRegistry } from "../servers/registry.ts";
import { hello, layer, putArtifact, putImage, putWasiImage } from "./images.ts";

const base = mkdtempSync(join(tmpdir(), "atalanta-images-"));
after(() => rmSync(base, { recursive: true, force: true }));
let folders = 0;

function open(options: Partial<ImagesOptions> = {}): Promise<Images> {
  return openImages({
    folder: join(base, String(folders++)),
    registry: () =>
      openRegistry({
        loopback: true,
        retries: { firstMs: 1, attempts: 3 },
        timeouts: { connectMs: 2000, headersMs: 2000, idleMs: 2000 },
      }),
    limits: defaultLimits,
    ...options,
  });
}

/** Another process that gets an image: it says "begun", then the module's size, and ends unless it `stays`. */
function puller({
  folder,
  name,
  stays = false,
}: {
  folder: string;
  name: string;
  stays?: boolean;
}): ReturnType<typeof fork> {
  const program = join(base, "puller.ts");
  const part = (path: string): string =>
    JSON.stringify(resolve(import.meta.dirname, "../../src", path, "mod.ts"));
  writeFileSync(
    program,
    `import { openImages, openRegistry } from ${part("oci")};
     import { defaultLimits } from ${part("limits")};
     const [folder, name, stays] = process.argv.slice(2);
     await using images = await openImages({
       folder, limits: defaultLimits, registry: () => openRegistry({ loopback: true }),
     });
     process.send?.("begun");
     using image = await images.get(name);
     process.send?.(image.module.size);
     if (stays === "true") await new Promise((resolve) => process.once("disconnect", resolve));
     else process.disconnect?.();`,
  );
  return fork(program, [folder, name, String(stays)], {
    execArgv: ["--no-warnings"],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
}

/** The text of a file of an image. */
function fileOf({ files }: Image, path: string): string | undefined {
  const entry = files?.entries.find((item) => item.path === path);
  if (entry?.kind !== "file" || entry.content.kind !== "slice") return undefined;
  const { path: host, offset, size } = entry.content;
  return readFileSync(host)
    .subarray(offset, offset + size)
    .toString();
}

function pathsOf({ files }: Image): readonly string[] {
  return (files?.entries ?? []).map(({ path }) => path).toSorted();
}

function failed(code: Failure["code"], ...words: readonly string[]): (thrown: unknown) => true {
  return (thrown) => {
    assert(thrown instanceof Failure, String(thrown));
    assert.equal(thrown.code, code, thrown.message);
    for (const word of words) assert.ok(thrown.message.includes(word), thrown.message);
    return true;
  };
}

const large = Buffer.alloc(100_000, "large ");

describe("An image", () => {
  for (const packed of ["none", "gzip", "zstd"] as const) {
    test(`is one of a container, FROM scratch, with layers of ${packed}`, async () => {
      await using server = await StandInRegistry.start();
      const { digest } = putWasiImage(server, {
        repository: "acme/step",
        tag: "1",
        packed,
        archives: [
          tar(
            { name: "app/", type: "5" },
            { name: "app/step.wasm", body: hello, mode: 0o755 },
            { name: "etc/large", body: large },
            { name: "etc/gone", body: "x" },
            { name: "data/old/a", body: "x" },
            { name: "data/kept", body: "k" },
          ),
          tar(
            { name: "etc/.wh.gone" },
            { name: "data/old/.wh..wh..opq" },
            { name: "data/old/b", body: "new" },
            { name: "etc/link", type: "2", target: "/etc/large" },
          ),
        ],
        run: {
          Entrypoint: ["app/step.wasm", "--fast"],
          Cmd: ["all"],
          Env: ["A=1", "B=x=y"],
          WorkingDir: "/data",
        },
      });
      await using images = await open();
      using image = await images.get(`${server.host}/acme/step:1`);
      assert.equal(image.digest, digest);
      assert.equal(image.packaging, "wasi-image");
      assert.ok(readFileSync(image.module.path).equals(hello));
      assert.equal(image.module.digest, digestOf(hello));
      assert.deepEqual(image.entrypoint, ["app/step.wasm", "--fast"]);
      assert.deepEqual(image.command, ["all"]);
      assert.deepEqual(image.environment, [
        ["A", "1"],
        ["B", "x=y"],
      ]);
      assert.equal(image.workingDir, "/data");
      const paths = ["app", "data", "data/kept", "data/old", "data/old/b", "etc", "etc/large", "etc/link"]; // prettier-ignore
      assert.deepEqual(pathsOf(image), paths);
      assert.equal(fileOf(image, "data/old/b"), "new");
      assert.equal(fileOf(image, "etc/large"), large.toString());
      const link = image.files?.entries.find(({ path }) => path === "etc/link");
      assert.equal(link?.kind === "symlink" && link.target, "../etc/large");
    });
  }

  test("is the CNCF's artifact, or one of wasm-to-oci", async () => {
    await using server = await StandInRegistry.start();
    putArtifact(server, { repository: "acme/step", tag: "cncf", module: hello });
    putImage(server, {
      repository: "acme/step",
      tag: "old",
      config: {},
      configType: "application/vnd.wasm.config.v1+json",
      layers: [{ mediaType: "application/vnd.wasm.content.layer.v1+wasm", bytes: hello }],
    });
    await using images = await open();
    for (const [tag, packaging] of [
      ["cncf", "cncf"],
      ["old", "wasm-to-oci"],
    ]) {
      using image = await images.get(`${server.host}/acme/step:${tag}`);
      assert.equal(image.packaging, packaging);
      assert.ok(readFileSync(image.module.path).equals(hello));
      assert.deepEqual([image.entrypoint, image.command, image.files], [[], [], undefined]);
    }
  });

  test("is one with the annotation compat, whatever platform it names", async () => {
    await using server = await StandInRegistry.start();
    const platform = { os: "linux", architecture: "amd64" };
    const more = { annotations: { "module.wasm.image/variant": "compat" } };
    for (const [tag, name, run] of [
      ["plugin", "plugin.wasm", {}],
      ["only", "bin/any.wasm", {}],
      ["named", "bin/step", { Entrypoint: ["/bin/step"] }],
    ] as const) {
      const archives = [tar({ name, body: hello }, { name: "readme", body: "x" })];
      putWasiImage(server, { repository: "acme/step", tag, archives, run, platform, more });
    }
    await using images = await open();
    for (const tag of ["plugin", "only", "named"]) {
      using image = await images.get(`${server.host}/acme/step:${tag}`);
      assert.equal(image.packaging, "compat");
      assert.ok(readFileSync(image.module.path).equals(hello));
    }
  });

  test("is the one for Wasm of an index, also of one in another", async () => {
    await using server = await StandInRegistry.start();
    const repository = "acme/step";
    const wasi = putWasiImage(server, {
      repository,
      archives: [tar({ name: "a.wasm", body: hello })],
      run: { Entrypoint: ["/a.wasm"] },
      platform: { os: "wasi", architecture: "wasm" },
    });
    const index = (tag: string, manifests: readonly object[]): { digest: string; size: number } => {
      const bytes = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: "application/vnd.oci.image.index.v1+json",
          manifests,
        }),
      );
      server.putManifest(repository, tag, bytes, "application/vnd.oci.image.index.v1+json");
      return { digest: digestOf(bytes), size: bytes.length };
    };
    const type = "application/vnd.oci.image.manifest.v1+json";
    const inner = index("inner", [
      { mediaType: type, ...wasi, platform: { os: "linux", architecture: "amd64" } },
      { mediaType: type, ...wasi, platform: { os: "wasi", architecture: "wasm" } },
    ]);
    const outer = index("outer", [
      { mediaType: "application/vnd.oci.image.index.v1+json", ...inner },
    ]);
    index("linux", [
      { mediaType: type, ...wasi, platform: { os: "linux", architecture: "amd64" } },
      { mediaType: type, ...wasi, platform: { os: "linux", architecture: "arm64" } },
    ]);
    await using images = await open();
    using image = await images.get(`${server.host}/${repository}:inner`);
    assert.equal(image.digest, inner.digest);
    using other = await images.get(`${server.host}/${repository}:outer`);
    assert.equal(other.digest, outer.digest);
    await assert.rejects(
      images.get(`${server.host}/${repository}:linux`),
      failed("image-invalid", "an index for linux/amd64, linux/arm64"),
    );
  });
});

describe("What is no image for us", () => {
  const cases: readonly (readonly [
    string,
    (server: StandInRegistry) => void,
    ...(readonly string[]),
  ])[] = [
    [
      "a program for Linux",
      (server) =>
        putWasiImage(server, {
          repository: "a",
          tag: "1",
          archives: [tar({ name: "bin/sh", body: "\x7fELF" })],
          run: { Entrypoint: ["/bin/sh"] },
          platform: { os: "linux", architecture: "amd64" },
        }),
      "built for linux/amd64",
    ],
    [
      "a chart",
      (server) =>
        putImage(server, {
          repository: "a",
          tag: "1",
          config: {},
          configType: "application/vnd.cncf.helm.config.v1+json",
          layers: [
            {
              mediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
              bytes: Buffer.from("x"),
            },
          ],
        }),
      "application/vnd.cncf.helm.config.v1+json",
      "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
    ],
    [
      "an entry point that is a script",
      (server) =>
        putWasiImage(server, {
          repository: "a",
          tag: "1",
          archives: [tar({ name: "run.sh", body: "#!/bin/sh" })],
          run: { Entrypoint: ["/run.sh"] },
        }),
      'entry point "run.sh" is no WebAssembly module',
    ],
    [
      "an entry point that is not there",
      (server) =>
        putWasiImage(server, {
          repository: "a",
          tag: "1",
          archives: [tar({ name: "a.wasm", body: hello })],
          run: { Cmd: ["/b.wasm"] },
        }),
      'entry point "/b.wasm" is no file',
    ],
    [
      "no entry point",
      (server) =>
        putWasiImage(server, {
          repository: "a",
          tag: "1",
          archives: [tar({ name: "a.wasm", body: hello })],
          run: {},
        }),
      "no entry point",
    ],
    [
      "a link in a ring as entry point",
      (server) =>
        putWasiImage(server, {
          repository: "a",
          tag: "1",
          archives: [
            tar({ name: "a", type: "2", target: "b" }, { name: "b", type: "2", target: "a" }),
          ],
          run: { Entrypoint: ["/a"] },
        }),
      'entry point "/a" is no file',
    ],
    [
      "a layer that leads outside",
      (server) =>
        putWasiImage(server, {
          repository: "a",
          tag: "1",
          archives: [tar({ name: "../../a.wasm", body: hello })],
          run: { Entrypoint: ["/a.wasm"] },
        }),
      "Layer 1",
      "leads outside",
    ],
    [
      "a layer that is no archive",
      (server) =>
        putImage(server, {
          repository: "a",
          tag: "1",
          config: { os: "wasi", architecture: "wasm", config: { Entrypoint: ["a"] } },
          layers: [{ ...layer(tar({ name: "a", body: hello })), bytes: Buffer.from("no gzip") }],
        }),
      "Layer 1",
      "no gzip stream",
    ],
    [
      "a layer with another digest than the config says",
      (server) =>
        putImage(server, {
          repository: "a",
          tag: "1",
          config: {
            os: "wasi",
            architecture: "wasm",
            config: { Entrypoint: ["/a"] },
            rootfs: { diff_ids: [digestOf(Buffer.from("another"))] },
          },
          layers: [layer(tar({ name: "a", body: hello }))],
        }),
      "config says",
    ],
    [
      "a layer with much behind the end of its archive",
      (server) =>
        putImage(server, {
          repository: "a",
          tag: "1",
          config: { os: "wasi", architecture: "wasm", config: { Entrypoint: ["/a"] } },
          layers: [
            {
              mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
              bytes: Buffer.concat([
                gzipSync(tar({ name: "a", body: hello })),
                ...Array.from({ length: 45 }, () => bomb),
              ]),
            },
          ],
        }),
      "bytes come out of it",
    ],
  ];
  const bomb = gzipSync(Buffer.alloc(10 * 1024 * 1024));
  test("has its module under each of its names, however long the image's is", async () => {
    await using server = await StandInRegistry.start();
    const big = Buffer.concat([
      hello,
      Buffer.from([0, 0x81, 0x80, 0x08, 0]),
      Buffer.alloc(131_072),
    ]);
    const repository = "long".repeat(55);
    putWasiImage(server, {
      repository,
      tag: "1",
      archives: [
        tar(
          { name: "box.wasm", body: big, mode: 0o755 },
          { name: "bin/ls", type: "1", target: "box.wasm" },
        ),
      ],
      run: { Entrypoint: ["/box.wasm"] },
    });
    await using images = await open();
    using image = await images.get(`${server.host}/${repository}:1`);
    assert.equal(image.module.digest, digestOf(big));
    assert.equal(fileOf(image, "bin/ls"), big.toString());
  });

  test("is refused when its layers together are a bomb and none of them is one alone", async () => {
    await using server = await StandInRegistry.start();
    const zeros = Buffer.alloc(100 * 1024 * 1024);
    const archives = [1, 2, 3].map((at) => tar({ name: `zeros-${at}`, body: zeros }));
    archives.push(tar({ name: "a.wasm", body: hello }));
    putWasiImage(server, { repository: "a", tag: "1", archives, run: { Entrypoint: ["/a.wasm"] } });
    await using images = await open();
    await assert.rejects(
      images.get(`${server.host}/a:1`),
      failed("image-invalid", "Layer 3", "bytes come out of it"),
    );
  });

  for (const [name, put, ...words] of cases) {
    test(`is refused with what was found: ${name}`, async () => {
      await using server = await StandInRegistry.start();
      put(server);
      await using images = await open();
      await assert.rejects(images.get(`${server.host}/a:1`), failed("image-invalid", ...words));
      assert.deepEqual(await images.list(), []);
    });
  }

  test("leaves nothing behind", async () => {
    await using server = await StandInRegistry.start();
    for (const [, put] of cases.slice(0, 8)) put(server);
    const folder = join(base, String(folders++));
    await using images = await open({ folder });
    await assert.rejects(images.get(`${server.host}/a:1`));
    assert.deepEqual(readdirSync(join(folder, "partial")), []);
  });
});

describe("When a registry is asked", () => {
  test("is said by the pull policy, as in Kubernetes", async () => {
    await using server = await StandInRegistry.start();
    putArtifact(server, { repository: "step", tag: "1", module: hello });
    putArtifact(server, { repository: "step", tag: "latest", module: hello });
    await using images = await open();
    const name = `${server.host}/step`;
    await assert.rejects(
      images.get(`${name}:1`, { pullPolicy: "Never" }),
      failed("image-not-found", "not to be pulled"),
    );
    assert.equal(server.seen.length, 0);
    const requests = async (
      reference: string,
      pullPolicy?: "Always" | "IfNotPresent" | "Never",
    ) => {
      const before = server.seen.length;
      using image = await images.get(reference, pullPolicy ? { pullPolicy } : {});
      assert.equal(image.module.digest, digestOf(hello));
      return server.seen.length - before;
    };
    assert.equal(await requests(`${name}:1`), 3);
    assert.equal(await requests(`${name}:1`), 0);
    assert.equal(await requests(`${name}:1`, "Never"), 0);
    assert.equal(await requests(`${name}:1`, "Always"), 1);
    // The tag "latest" may be another one tomorrow; what it names now is here already.
    assert.equal(await requests(name), 1);
    assert.equal(await requests(name), 1);
    assert.equal(await requests(name, "IfNotPresent"), 0);
    const { digest } = putArtifact(server, { repository: "step", module: hello });
    assert.equal(await requests(`${name}@${digest}`, "Always"), 0);
  });

  test("a tag that has moved is another image", async () => {
    await using server = await StandInRegistry.start();
    const first = putArtifact(server, { repository: "step", tag: "1", module: hello });
    await using images = await open();
    const name = `${server.host}/step:1`;
    assert.equal(await images.resolve(name), first.digest);
    const other = Buffer.concat([hello, Buffer.from([0, 2, 1, 0x61])]);
    const second = putArtifact(server, { repository: "step", tag: "1", module: other });
    using old = await images.get(name, { digest: first.digest });
    assert.equal(old.module.digest, digestOf(hello));
    using now = await images.get(name, { pullPolicy: "Always" });
    assert.equal(now.digest, second.digest);
    assert.equal(now.module.digest, digestOf(other));
    // A run that goes on has what it had, and that does not move the tag back.
    using again = await images.get(name, { digest: first.digest });
    assert.equal(again.module.digest, digestOf(hello));
    assert.equal(await images.resolve(name, { pullPolicy: "Never" }), second.digest);
  });

  test("a thousand who ask at once are one pull", async () => {
    await using server = await StandInRegistry.start();
    putArtifact(server, { repository: "step", tag: "1", module: hello });
    await using images = await open();
    const name = `${server.host}/step:1`;
    const all = await Promise.all(Array.from({ length: 1000 }, () => images.get(name)));
    assert.equal(server.seen.length, 3);
    for (const image of all) image[Symbol.dispose]();
    assert.deepEqual(
      (await images.list()).map(({ inUse }) => inUse),
      [false],
    );
  });

  test("a thousand who ask at once for what is here look at it once", async () => {
    await using server = await StandInRegistry.start();
    const files = tar({ name: "a.wasm", body: hello }, { name: "large", body: large });
    putWasiImage(server, { repository: "a", tag: "1", archives: [files], run: { Entrypoint: ["/a.wasm"] } }); // prettier-ignore
    const folder = join(base, String(folders++));
    const name = `${server.host}/a:1`;
    {
      await using images = await open({ folder });
      (await images.get(name))[Symbol.dispose]();
    }
    await using images = await open({ folder });
    const all = await Promise.all(Array.from({ length: 1000 }, () => images.get(name)));
    assert.equal(new Set(all.map((image) => image.files)).size, 1);
    for (const image of all) image[Symbol.dispose]();
  });

  test("one who goes does not take the pull from the others", async () => {
    await using server = await StandInRegistry.start({
      fault: ({ url = "" }) =>
        url.includes("/blobs/") ? { kind: "late", afterMs: 100 } : undefined,
    });
    putArtifact(server, { repository: "step", tag: "1", module: hello });
    await using images = await open();
    const name = `${server.host}/step:1`;
    const stop = new AbortController();
    const first = images.get(name, { signal: stop.signal });
    const second = images.get(name);
    setTimeout(() => stop.abort(new Error("gone")), 20);
    await assert.rejects(first, failed("aborted", "Stopped while the image"));
    using image = await second;
    assert.equal(image.module.digest, digestOf(hello));
  });
});

describe("The cache", () => {
  const module = (size: number): Buffer => {
    // A custom section without a name.
    const length = [(size & 127) | 128, ((size >> 7) & 127) | 128, (size >> 14) & 127];
    return Buffer.concat([hello, Buffer.from([0, ...length, 0]), Buffer.alloc(size - 1)]);
  };

  test("notices what is damaged, and brings it again", async () => {
    await using server = await StandInRegistry.start();
    putArtifact(server, { repository: "step", tag: "1", module: hello });
    const folder = join(base, String(folders++));
    const name = `${server.host}/step:1`;
    const harm: readonly (readonly [string, (path: string) => void])[] = [
      ["step.wasm", (path) => truncateSync(path, 10)],
      ["step.wasm", (path) => rmSync(path)],
      ["image.json", (path) => writeFileSync(path, "{")],
    ];
    for (const [file, work] of harm) {
      {
        await using images = await open({ folder });
        using image = await images.get(name);
        assert.ok(readFileSync(image.module.path).equals(hello));
      }
      const [path] = globSync(`images/*/${file}`, { cwd: folder });
      work(join(folder, path ?? assert.fail()));
      await using images = await open({ folder });
      using image = await images.get(name);
      assert.ok(readFileSync(image.module.path).equals(hello), file);
    }
  });

  test("notices a file besides the module that is damaged and has its length", async () => {
    await using server = await StandInRegistry.start();
    putWasiImage(server, {
      repository: "step",
      tag: "1",
      archives: [tar({ name: "a.wasm", body: hello }, { name: "large", body: large })],
      run: { Entrypoint: ["/a.wasm"] },
    });
    const folder = join(base, String(folders++));
    const name = `${server.host}/step:1`;
    const [flip, spoil] = [
      (path: string) => writeFileSync(path, readFileSync(path).fill("x", 70_000, 70_001)),
      (path: string) => writeFileSync(path, readFileSync(path).fill(0)),
    ];
    for (const [file, harm] of [
      ["layer-1/file-1", flip],
      ["image.json", spoil],
    ] as const) {
      await using images = await open({ folder });
      // It is noticed in the process that has seen it whole, and in a new one.
      for (const reader of [images, await open({ folder })]) {
        (await reader.get(name))[Symbol.dispose]();
        if (reader === images && file === "image.json") continue;
        const [path] = globSync(`images/*/${file}`, { cwd: folder });
        harm(join(folder, path ?? assert.fail()));
        const fresh = reader === images ? reader : await open({ folder });
        using image = await fresh.get(name);
        assert.equal(fileOf(image, "large"), large.toString());
        await reader[Symbol.asyncDispose]();
        if (fresh !== reader) await fresh[Symbol.asyncDispose]();
      }
    }
  });

  test("removes half pulls as soon as nobody is at them", async () => {
    const folder = join(base, String(folders++));
    await (await open({ folder }))[Symbol.asyncDispose]();
    const half = `sha256-${"a".repeat(64)}.0`;
    for (const name of [half, "gone-1", "other"]) {
      mkdirSync(join(folder, "partial", name));
      writeFileSync(join(folder, "partial", name, "x"), "x");
    }
    {
      using lock = LockFile.take(join(folder, "locks", `sha256-${"a".repeat(64)}.pull`));
      assert.ok(lock);
      await (await open({ folder }))[Symbol.asyncDispose]();
      assert.deepEqual(readdirSync(join(folder, "partial")).toSorted(), ["other", half]);
    }
    await (await open({ folder }))[Symbol.asyncDispose]();
    assert.deepEqual(readdirSync(join(folder, "partial")), ["other"]);
  });

  test("keeps what was used last and what is in use, within its size", async () => {
    await using server = await StandInRegistry.start();
    for (const tag of ["1", "2", "3", "4"]) {
      putArtifact(server, { repository: "step", tag, module: module(300_000 + Number(tag)) });
    }
    const folder = join(base, String(folders++));
    await using images = await open({ folder, mostBytes: 700_000 });
    const name = (tag: string): string => `${server.host}/step:${tag}`;
    const tags = async (): Promise<readonly string[]> =>
      (await images.list())
        .flatMap(({ references }) => references.map((text) => text.slice(-1)))
        .toSorted();
    using used = await images.get(name("1"));
    for (const tag of ["2", "3", "4"]) (await images.get(name(tag)))[Symbol.dispose]();
    assert.deepEqual(await tags(), ["1", "4"]);
    assert.ok(readFileSync(used.module.path).length > 300_000);
    // Another process, which uses nothing yet, sees what this one uses.
    await using others = await open({ folder, mostBytes: 700_000 });
    assert.deepEqual(
      (await others.prune(() => true)).map(({ references }) => references[0]?.slice(-1)),
      [],
    );
    used[Symbol.dispose]();
    assert.deepEqual((await images.prune(() => true)).length, 2);
    assert.deepEqual(await images.list(), []);
  });

  test("keeps what another process uses, until that has ended in whatever way", async () => {
    await using server = await StandInRegistry.start();
    for (const tag of ["1", "2"]) {
      putArtifact(server, { repository: "step", tag, module: module(300_000 + Number(tag)) });
    }
    const folder = join(base, String(folders++));
    const other = puller({ folder, name: `${server.host}/step:1`, stays: true });
    using stack = new DisposableStack();
    stack.defer(() => other.kill("SIGKILL"));
    await once(other, "message");
    assert.ok(Number((await once(other, "message"))[0]) > 300_000);
    await using images = await open({ folder, mostBytes: 1 });
    (await images.get(`${server.host}/step:2`))[Symbol.dispose]();
    const used = (await images.list()).filter(({ inUse }) => inUse);
    assert.deepEqual(used.map(({ references }) => references), [[`${server.host}/step:1`]]); // prettier-ignore
    assert.equal((await images.prune(() => true)).length, 1);
    other.kill("SIGKILL");
    await once(other, "exit");
    assert.equal((await images.prune(() => true)).length, 1);
  });

  test("a pull that is killed leaves nothing broken, and two processes pull once", async () => {
    let asked = (): void => undefined;
    const blobAsked = new Promise<void>((resolve) => (asked = resolve));
    await using server = await StandInRegistry.start({
      fault: ({ url = "" }) => {
        if (!url.includes("/blobs/")) return undefined;
        asked();
        return { kind: "late", afterMs: 500 };
      },
    });
    putArtifact(server, { repository: "step", tag: "1", module: module(300_000) });
    const folder = join(base, String(folders++));
    const name = `${server.host}/step:1`;
    const start = (): ReturnType<typeof fork> => puller({ folder, name });
    const killed = start();
    await once(killed, "message");
    await blobAsked;
    killed.kill("SIGKILL");
    await once(killed, "exit");
    // The registry sees that its asker has gone a moment after it has.
    while (!server.seen.some(({ url }) => url.includes("/blobs/"))) await sleep(10);
    const before = server.seen.length;
    const both = [start(), start()];
    const sizes = await Promise.all(
      both.map(async (child) => {
        await once(child, "message");
        const [size]: unknown[] = await once(child, "message");
        await once(child, "exit");
        return size;
      }),
    );
    assert.equal(sizes[0], sizes[1]);
    const blobs = server.seen.slice(before).filter(({ url }) => url.includes("/blobs/"));
    assert.equal(blobs.length, 1);
  });
});

describe("A policy", () => {
  test("is asked for everybody's own name, also of those who wait for one pull", async () => {
    await using server = await StandInRegistry.start({
      fault: ({ url = "" }) =>
        url.includes("/blobs/") ? { kind: "late", afterMs: 50 } : undefined,
    });
    const { digest } = putArtifact(server, { repository: "good", tag: "1", module: hello });
    putArtifact(server, { repository: "bad", tag: "1", module: hello });
    const folder = join(base, String(folders++));
    const policy: ImagePolicy = {
      checkName: () => undefined,
      checkImage: ({ repository }) =>
        repository === "bad"
          ? Promise.reject(new Failure("image-policy", "bad may not run"))
          : Promise.resolve(),
    };
    await using free = await open({ folder });
    await using strict = await open({ folder, policy });
    const refused = failed("image-policy", "bad may not run");
    const all = [
      free.get(`${server.host}/bad:1`),
      strict.get(`${server.host}/good@${digest}`),
      strict.get(`${server.host}/bad@${digest}`),
      strict.get(`${server.host}/bad:1`),
    ];
    const [first, good, ...bad] = await Promise.allSettled(all);
    assert.equal(first?.status, "fulfilled");
    assert.equal(good?.status, "fulfilled");
    for (const end of bad) {
      assert.equal(end.status, "rejected");
      refused(end.status === "rejected" && end.reason);
    }
    await assert.rejects(strict.get(`${server.host}/bad:1`), refused);
    assert.equal(server.seen.filter(({ url }) => url.includes("/blobs/")).length, 1);
  });
});
