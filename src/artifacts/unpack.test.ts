import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  createWriteStream,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { after, describe, test } from "node:test";
import { crc32, createGzip, deflateRawSync, gzipSync } from "node:zlib";
import { member, tar, type Member } from "../../test/archives/tar.ts";
import { openArtifactStore, type StoredArtifact } from "./mod.ts";

const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const storeFolder = join(folder, "artifacts");
const store = await openArtifactStore({ folder: storeFolder });

const tarball = (...members: readonly Member[]): Buffer =>
  gzipSync(Buffer.concat([...members.map(member), Buffer.alloc(1024)]));

/** A zip archive with the checksums and sizes that it is asked for. */
function zip(
  members: readonly {
    readonly name: string;
    readonly body: string | Uint8Array;
    readonly crc?: number;
    readonly flags?: number;
    readonly size?: number;
  }[],
): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, body, crc, flags = 0x800, size } of members) {
    const content = Buffer.from(body);
    const packed = deflateRawSync(content);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(flags, 2);
    common.writeUInt16LE(8, 4);
    common.writeUInt32LE(crc ?? crc32(content), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(size ?? content.length, 18);
    common.writeUInt16LE(Buffer.byteLength(name), 22);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE((0o100755 << 16) >>> 0, 6);
    rest.writeUInt32LE(offset, 10);
    const local = Buffer.concat([Buffer.from("PK\u0003\u0004"), common, Buffer.from(name), packed]);
    directory.push(
      Buffer.concat([Buffer.from("PK\u0001\u0002\u0014\u0003"), common, rest, Buffer.from(name)]),
    );
    parts.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\u0005\u0006");
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}

async function files(artifact: StoredArtifact): Promise<Record<string, string>> {
  const to = mkdtempSync(join(folder, "out-"));
  await store.exportTo(artifact, join(to, "x"));
  if (artifact.kind === "file") return { "": readFileSync(join(to, "x"), "utf8") };
  const names = globSync("**", { cwd: join(to, "x"), withFileTypes: true });
  return Object.fromEntries(
    names
      .filter((item) => item.isFile() || item.isSymbolicLink())
      .map((item) => {
        const path = join(item.parentPath, item.name);
        const value = item.isFile() ? readFileSync(path, "utf8") : `-> ${readlinkSync(path)}`;
        return [path.slice(join(to, "x").length + 1), value] as const;
      })
      .toSorted(([left], [right]) => (left < right ? -1 : 1)),
  );
}

async function unpacked(bytes: Uint8Array, kind: "tar" | "zip" = "tar") {
  return store.unpack(await store.putBytes(bytes), kind);
}

describe("archives that people make", () => {
  const source = join(folder, "source");
  const long = `${"long-name-".repeat(12)}end`;
  mkdirSync(join(source, long, "sub"), { recursive: true });
  writeFileSync(join(source, long, "sub", "ü.txt"), "umlaut");
  writeFileSync(join(source, "run.sh"), "#!/bin/sh\n");
  chmodSync(join(source, "run.sh"), 0o755);
  writeFileSync(join(source, "big"), Buffer.alloc(300_000, "b"));
  symlinkSync(join(long, "sub"), join(source, "link"));
  const expected = {
    big: "b".repeat(300_000),
    link: `-> ${join(long, "sub")}`,
    [join(long, "sub", "ü.txt")]: "umlaut",
    "run.sh": "#!/bin/sh\n",
  };
  for (const format of ["gnu", "pax"]) {
    test(`the tar command's ${format} format comes out as it went in`, async () => {
      const bytes = execFileSync("tar", [`--format=${format}`, "-czf", "-", "-C", source, "."], {
        maxBuffer: 1e8,
      });
      const artifact = await unpacked(bytes);
      assert.deepEqual(await files(artifact), expected);
      const run = await store.content(artifact, "run.sh");
      assert.equal(run.kind === "file" && run.mode, 0o755);
    });
  }

  for (const format of ["v7", "ustar"]) {
    test(`the tar command's ${format} format comes out as it went in`, async () => {
      const bytes = execFileSync("tar", [
        `--format=${format}`,
        "-czf",
        "-",
        "-C",
        source,
        "run.sh",
        "big",
      ]);
      assert.deepEqual(Object.keys(await files(await unpacked(bytes))), ["big", "run.sh"]);
    });
  }

  test("a zip archive comes out as it went in, with its modes", async () => {
    const artifact = await unpacked(
      zip([
        { name: "a/", body: "" },
        { name: "a/b.txt", body: "inside" },
        { name: "ü", body: Buffer.alloc(200_000, "z") },
      ]),
      "zip",
    );
    assert.deepEqual(await files(artifact), { "a/b.txt": "inside", ü: "z".repeat(200_000) });
    const content = await store.content(artifact, "a/b.txt");
    assert.equal(content.kind === "file" && content.mode, 0o755);
  });

  test("an archive of one file is that file, and of one folder that folder", async () => {
    assert.deepEqual(await files(await unpacked(tarball({ name: "./doc", body: "text" }))), {
      "": "text",
    });
    const one = await unpacked(
      tarball(
        { name: "top/", type: "5" },
        { name: "top/a", body: "1" },
        { name: "top/b", body: "2" },
      ),
    );
    assert.deepEqual(await files(one), { a: "1", b: "2" });
    const empty = await unpacked(tarball());
    assert.deepEqual([empty.kind, empty.count], ["directory", 0]);
  });

  test("a file named twice has its last content, and a hard link that of its target", async () => {
    const artifact = await unpacked(
      tarball(
        { name: "a", body: "old" },
        { name: "a", body: "new" },
        { name: "b", type: "1", target: "a" },
      ),
    );
    assert.deepEqual(await files(artifact), { a: "new", b: "new" });
  });

  test("only a gzip'd tarball is taken for one", async () => {
    const is = async (bytes: Uint8Array): Promise<boolean> =>
      store.isTarball(await store.putBytes(bytes));
    assert.equal(await is(tarball({ name: "a", body: "x" })), true);
    assert.equal(await is(gzipSync("only packed text, and no tarball".repeat(100))), false);
    assert.equal(await is(member({ name: "a", body: "x" })), false);
    assert.equal(await is(zip([{ name: "a", body: "x" }])), false);
    assert.equal(await is(Buffer.from("")), false);
    assert.equal(await is(Buffer.from([0x1f, 0x8b, 8, 0])), false);
  });

  test("the same archive is unpacked once, and again when what came out is lost", async () => {
    const artifact = await store.putBytes(
      tarball({ name: "a", body: "1" }, { name: "b", body: "2" }),
    );
    const first = await store.unpack(artifact, "tar");
    const hex = first.digest.slice(7);
    const index = join(storeFolder, "sha256", hex.slice(0, 2), hex.slice(2));
    const { ino } = statSync(index);
    assert.deepEqual(await store.unpack(artifact, "tar"), first);
    assert.equal(statSync(index).ino, ino);
    rmSync(join(storeFolder, "packs", hex.slice(0, 2), hex.slice(2)));
    assert.deepEqual(await store.unpack(artifact, "tar"), first);
    assert.deepEqual(await files(first), { a: "1", b: "2" });
  });
});

describe("hostile archives are refused, and leave nothing behind", () => {
  const pax = (name: string, value: string): string => {
    let length = name.length + value.length + 3;
    length += String(length + String(length).length).length;
    return `${length} ${name}=${value}\n`;
  };
  const cases: Readonly<Record<string, Uint8Array>> = {
    "a name that climbs out": tarball({ name: "../x", body: "x" }),
    "a name that climbs out after going in": tarball({ name: "a/../../x", body: "x" }),
    "a pax name that climbs out": tarball(
      { name: "p", type: "x", body: pax("path", "../x") },
      { name: "ok", body: "x" },
    ),
    "a link out": tarball({ name: "a", body: "" }, { name: "l", type: "2", target: "../x" }),
    "an absolute link": tarball({ name: "a", body: "" }, { name: "l", type: "2", target: "/etc" }),
    "a link that means something else than it says": tarball(
      { name: "s/up", type: "2", target: ".." },
      { name: "l", type: "2", target: "s/up/../x" },
    ),
    "a link whose folder is taken away": tarball({ name: "top/l", type: "2", target: "../x" }),
    "a file below a link": tarball(
      { name: "d/a", body: "x" },
      { name: "l", type: "2", target: "d" },
      { name: "l/b", body: "x" },
    ),
    "a file below a file": tarball({ name: "a", body: "x" }, { name: "a/b", body: "x" }),
    "a folder in place of a file": tarball({ name: "a", body: "x" }, { name: "a", type: "5" }),
    "a hard link to nothing": tarball({ name: "a", type: "1", target: "b" }),
    "a hard link out": tarball({ name: "a", type: "1", target: "../../etc/passwd" }),
    "nothing but a link": tarball({ name: "a", type: "2", target: "b" }),
    "a sparse file": tarball({ name: "a", type: "S", body: "x" }),
    "a file that ends early": gzipSync(member({ name: "a", body: "x", size: 5000 })),
    "a name of a megabyte and more": tarball({
      name: "l",
      type: "L",
      body: "a".repeat(2 ** 20 + 1),
    }),
    "a name longer than a system takes": tarball(
      { name: "l", type: "L", body: "a/".repeat(100) + "a".repeat(3897) },
      { name: "a" },
    ),
    "a link's target longer than a system takes": tarball(
      { name: "l", type: "K", body: "a".repeat(4097) },
      { name: "a", type: "2" },
      { name: "b", body: "x" },
    ),
    "a damaged pax record": tarball({ name: "p", type: "x", body: "999 path=a\n" }, { name: "a" }),
    "a header with a wrong checksum": gzipSync(Buffer.alloc(512, "a")),
    "a size that is no number": tarball(
      { name: "p", type: "x", body: pax("size", "-1") },
      { name: "a", body: "x" },
    ),
    "folders in folders in folders": tarball(
      {
        name: "p",
        type: "x",
        body: pax("path", "a/".repeat(300)),
      },
      { name: "a" },
    ),
    "no gzip": Buffer.from("text"),
    "a gzip cut off": tarball({ name: "a", body: "x".repeat(5000) }).subarray(0, 40),
  };
  for (const [name, bytes] of Object.entries(cases)) {
    test(name, async () => {
      await assert.rejects(unpacked(bytes), { code: "archive-invalid" });
      assert.deepEqual(globSync("{staging,partial}/*", { cwd: storeFolder }), []);
      assert.equal(existsSync(join(folder, "x")), false);
    });
  }

  const zips: Readonly<Record<string, Uint8Array>> = {
    "a zip with a name that climbs out": zip([{ name: "../x", body: "x" }]),
    "a zip with an absolute name": zip([{ name: "/x", body: "x" }]),
    "a zip with a wrong checksum": zip([{ name: "a", body: "x", crc: 1 }]),
    "an encrypted zip": zip([{ name: "a", body: "x", flags: 1 }]),
    "a zip with a file larger than it says": zip([{ name: "a", body: "xxxx", size: 1 }]),
    "a zip cut off": zip([{ name: "a", body: "x" }]).subarray(0, 60),
    "no zip": Buffer.from("text"),
  };
  for (const [name, bytes] of Object.entries(zips)) {
    test(name, async () => {
      await assert.rejects(unpacked(bytes, "zip"), { code: "archive-invalid" });
      assert.deepEqual(globSync("{staging,partial}/*", { cwd: storeFolder }), []);
    });
  }

  test("devices and pipes are left out, as Argo leaves them out", async () => {
    const artifact = await unpacked(
      tarball(
        { name: "null", type: "3" },
        { name: "disk", type: "4" },
        { name: "pipe", type: "6" },
        { name: "a", body: "1" },
        { name: "b", body: "2" },
      ),
    );
    assert.deepEqual(await files(artifact), { a: "1", b: "2" });
  });

  test("entries, bytes and ratio have ceilings, each held on both sides", async () => {
    const limited = await openArtifactStore({
      folder: join(folder, "limited"),
      archives: { entries: 3, totalBytes: 200_000 },
    });
    const of = async (...members: readonly Member[]): Promise<StoredArtifact> =>
      limited.unpack(await limited.putBytes(tarball(...members)), "tar");
    const three = ["a", "b", "c"].map((name) => ({ name, body: name }));
    assert.equal((await of(...three)).count, 3);
    await assert.rejects(of(...three, { name: "d" }), { message: /more than 3 entries/ });
    const body = Buffer.alloc(100_000);
    assert.equal((await of({ name: "a", body }, { name: "b", body })).size, 200_000);
    await assert.rejects(of({ name: "a", body }, { name: "b", body }, { name: "c", body: "x" }), {
      message: /more than 200000 bytes/,
    });
  });

  test("a hard link counts as the file that it becomes", async () => {
    const limited = await openArtifactStore({
      folder: join(folder, "linked"),
      archives: { totalBytes: 200_000 },
    });
    const of = async (...members: readonly Member[]): Promise<StoredArtifact> =>
      limited.unpack(await limited.putBytes(tarball(...members)), "tar");
    const linked: readonly Member[] = [
      { name: "a", body: Buffer.alloc(100_000) },
      { name: "b", type: "1", target: "a" },
    ];
    assert.equal((await of(...linked)).size, 200_000);
    await assert.rejects(of(...linked, { name: "c", type: "1", target: "b" }), {
      code: "archive-invalid",
      message: /more than 200000 bytes/,
    });
  });

  test("names do not fill the memory, however well they are packed", async () => {
    const long = Array.from({ length: 17_000 }, (_, index) => [
      { name: "l", type: "L", body: `${"a".repeat(4000)}${index}` },
      { name: "a" },
    ]).flat();
    await assert.rejects(unpacked(tarball(...long)), {
      code: "archive-invalid",
      message: /names have more than 67108864 bytes/,
    });
  });

  for (const [type, what] of [
    ["x", "records before an entry"],
    ["g", "records for all entries"],
  ] as const) {
    test(`${what} do not fill the memory`, async () => {
      const value = "v".repeat(1_000_000);
      const packed = createGzip({ level: 1 });
      const path = join(folder, `records-${type}`);
      const members = function* (): Generator<Uint8Array> {
        for (let count = 0; count < 220; count++) {
          yield member({ name: "p", type, body: pax(`key${count}`, value) });
        }
        yield tar({ name: "a", body: "1" });
      };
      await pipeline(members(), packed, createWriteStream(path));
      const artifact = await store.putPath(path);
      const before = process.memoryUsage().rss;
      let most = 0;
      const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 5);
      const file = await store.unpack(artifact, "tar");
      clearInterval(watch);
      assert.deepEqual(await files(file), { "": "1" });
      assert(most - before < 100 * 2 ** 20, `${(most - before) / 2 ** 20} MiB more`);
    });
  }

  test("bytes that become no file have the same ceiling", async () => {
    const limited = await openArtifactStore({
      folder: join(folder, "devices"),
      archives: { entries: 3, totalBytes: 100_000 },
    });
    const of = async (bytes: number): Promise<StoredArtifact> => {
      const device = { name: "disk", type: "4", body: Buffer.alloc(bytes) };
      const packed = tarball(device, { name: "a", body: "1" });
      return limited.unpack(await limited.putBytes(packed), "tar");
    };
    assert.equal((await of(1_000_000)).size, 1);
    await assert.rejects(of(1_200_000), { code: "archive-invalid", message: /1160864 bytes/ });
  });

  test("a bomb stops at its ceiling and not at the end of the disk", async () => {
    // 300 MiB of zeros are 300 KiB packed: a thousand times, where two hundred times are allowed.
    const size = 300 * 1024 * 1024;
    const header = member({ name: "zeros", size });
    const bomb = gzipSync(Buffer.concat([header, Buffer.alloc(size)]), { level: 9 });
    await assert.rejects(unpacked(bomb), { code: "archive-invalid", message: /bytes come out/ });
    assert.deepEqual(globSync("{staging,partial}/*", { cwd: storeFolder }), []);
  });
});
