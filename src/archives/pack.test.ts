import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  createWriteStream,
  mkdtempSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { after, describe, test } from "node:test";
import { defaultArchiveLimits, packTar, packZip, unpack, type Packable } from "./mod.ts";

const folder = mkdtempSync(join(tmpdir(), "atalanta-pack-"));
after(() => rmSync(folder, { recursive: true }));

const long = `${"long-name/".repeat(15)}ß.txt`;
const source = join(folder, "source");
writeFileSync(source, "0123456789".repeat(100_000));
const tree: Packable = {
  kind: "directory",
  entries: [
    { kind: "directory", path: "", mode: 0o750 },
    {
      kind: "file",
      path: "a.txt",
      mode: 0o644,
      content: { kind: "bytes", bytes: Buffer.from("a") },
    },
    { kind: "directory", path: "empty", mode: 0o700 },
    { kind: "symlink", path: "link", target: "a.txt" },
    { kind: "file", path: "run", mode: 0o755, content: { kind: "bytes", bytes: new Uint8Array() } },
    {
      kind: "file",
      path: "slice",
      mode: 0o600,
      content: { kind: "slice", path: source, offset: 10, size: 700_003 },
    },
    { kind: "file", path: long, mode: 0o644, content: { kind: "bytes", bytes: Buffer.from("b") } },
  ],
};

let count = 0;
async function written(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const path = join(folder, `archive-${count++}`);
  await pipeline(pieces, createWriteStream(path));
  return path;
}

async function back(path: string, kind: "tar" | "zip"): Promise<ReadonlyMap<string, string>> {
  const scratch = join(folder, `scratch-${count++}`);
  mkdirSync(scratch);
  const found = await unpack({ path, kind, scratch, limits: defaultArchiveLimits });
  assert.equal(found.kind, "directory");
  return new Map(
    found.entries.map((entry) => {
      if (entry.kind === "directory") return [entry.path, "folder"];
      if (entry.kind === "symlink") return [entry.path, `-> ${entry.target}`];
      const { content } = entry;
      const bytes =
        content.kind === "bytes"
          ? content.bytes
          : readFileSync(content.path).subarray(content.offset, content.offset + content.size);
      return [
        entry.path,
        `${entry.mode.toString(8)} ${bytes.length} ${bytes.subarray(0, 4).toString()}`,
      ];
    }),
  );
}

describe("what is packed comes out again", () => {
  for (const kind of ["tar", "zip"] as const) {
    test(`a folder as ${kind}, by our reader`, async () => {
      const pieces =
        kind === "tar" ? packTar(tree, { name: "top" }) : packZip(tree, { name: "top" });
      const found = await back(await written(pieces), kind);
      assert.equal(found.get("a.txt"), "644 1 a");
      assert.equal(found.get("empty"), "folder");
      // As Argo we read no links from zip archives; other programs do.
      assert.equal(found.get("link"), kind === "tar" ? "-> a.txt" : "777 5 a.tx");
      assert.equal(found.get("run"), "755 0 ");
      assert.equal(found.get("slice"), "600 700003 0123");
      assert.equal(found.get(long), "644 1 b");
    });
  }

  test("a folder as tar, by the tar of the machine", async () => {
    const path = await written(packTar(tree, { name: "top", level: 9 }));
    const to = join(folder, "by-tar");
    mkdirSync(to);
    execFileSync("tar", ["-xzf", path, "-C", to]);
    assert.equal(readFileSync(join(to, "top", long), "utf8"), "b");
    assert.deepEqual(
      readFileSync(join(to, "top/slice")),
      readFileSync(source).subarray(10, 700_013),
    );
    assert.equal(readFileSync(join(to, "top/link"), "utf8"), "a");
  });

  test("a folder as zip, by Python's zipfile, which checks sums", async () => {
    const path = await written(packZip(tree, { name: "top" }));
    const script = `import sys, zipfile
z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None
print(len(z.namelist()), z.read("top/" + sys.argv[2]).decode())`;
    const said = execFileSync("python3", ["-c", script, path, long], { encoding: "utf8" });
    assert.equal(said.trim(), "7 b");
  });

  test("the level of a tarball counts, and the same content is the same archive", async () => {
    const sizes: number[] = [];
    for (const level of [0, 1, 9, -2]) {
      const bytes: Buffer = readFileSync(await written(packTar(tree, { name: "top", level })));
      assert.deepEqual(bytes, readFileSync(await written(packTar(tree, { name: "top", level }))));
      sizes.push(bytes.length);
    }
    const [none = 0, fast = 0, best = 0, huffman = 0] = sizes;
    assert(none > 700_000 && best <= fast && fast < huffman && huffman < none, sizes.join());
  });
});

test("a file that became shorter is not packed in silence", async () => {
  const path = join(folder, "short");
  writeFileSync(path, "ab");
  const content = { kind: "slice", path, offset: 0, size: 3 } as const;
  const pieces = packTar({ kind: "file", mode: 0o644, content }, { name: "a" });
  await assert.rejects(written(pieces), { code: "storage", message: '"a" has 2 of its 3 bytes' });
});

test("whoever stops reading leaves nothing open", async () => {
  const content = { kind: "slice", path: source, offset: 0, size: 1_000_000 } as const;
  for await (const piece of packTar(
    { kind: "file", mode: 0o644, content },
    { name: "a", level: 0 },
  )) {
    assert(piece.length > 0);
    break;
  }
});
