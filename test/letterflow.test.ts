import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import { deflateSync } from "node:zlib";
import { decode as decodePng } from "fast-png";
import utif from "utif2";
import { createEngine, type Collected, type Mount, type Result } from "../src/engine/mod.ts";
import { defaultLimits } from "../src/limits/mod.ts";

const example = resolve(import.meta.dirname, "../examples/letterflow");
const letter = readFileSync(resolve(example, "letter.tiff"));
const engine = createEngine();
after(() => engine[Symbol.asyncDispose]());

type Files = ReadonlyMap<string, Uint8Array>;

function file(path: string, bytes: Uint8Array): Mount {
  return {
    path,
    readOnly: false,
    content: { kind: "file", mode: 0o644, content: { kind: "bytes", bytes } },
  };
}

async function run(
  guest: string,
  args: readonly string[],
  options: {
    readonly mounts?: readonly Mount[];
    readonly collect?: readonly string[];
    readonly stdin?: string;
  } = {},
): Promise<Result> {
  const module = await engine.load({ path: resolve(example, "guests", `${guest}.wasm`) });
  const mounts = options.mounts ?? [];
  return engine.run(module, {
    arguments: [guest, ...args],
    environment: new Map(),
    stdin: Buffer.from(options.stdin ?? ""),
    mounts: [
      { path: "/tmp", readOnly: false, content: { kind: "directory", entries: [] } },
      ...mounts,
    ],
    collect: options.collect ?? [],
    limits: defaultLimits,
  });
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

function printed(result: Result): unknown {
  assert.ok(
    result.kind === "exited" && result.exitCode === 0,
    `${result.kind}: ${text(result.stderr)}`,
  );
  const { stdout } = result;
  return stdout.length === 0 ? undefined : JSON.parse(text(stdout));
}

function bytesOf(content: Extract<Collected, { kind: "file" }>["content"]): Uint8Array {
  if (content.kind === "bytes") return content.bytes;
  return readFileSync(content.path).subarray(content.offset, content.offset + content.size);
}

function fileOf(result: Result): Uint8Array {
  const [found] = result.collected;
  assert.ok(found?.kind === "file");
  return bytesOf(found.content);
}

function folderOf(result: Result): Files {
  const [found] = result.collected;
  assert.ok(found?.kind === "directory");
  return new Map(
    found.entries.flatMap((entry) =>
      entry.kind === "file" ? [[entry.path, bytesOf(entry.content)]] : [],
    ),
  );
}

const digests = (files: Files): Record<string, string> =>
  Object.fromEntries(
    [...files]
      .toSorted(([left], [right]) => (left < right ? -1 : 1))
      .map(([name, bytes]) => [
        name,
        createHash("sha256").update(bytes).digest("hex").slice(0, 16),
      ]),
  );

interface Page {
  readonly page: number;
  readonly file: string;
  readonly width: number;
  readonly height: number;
  readonly dpi: number;
  readonly kind: string;
}

async function split(document: Uint8Array): Promise<Result> {
  return run("split_pages", ["/tmp/doc", "/tmp/pages"], {
    mounts: [file("/tmp/doc", document)],
    collect: ["/tmp/pages"],
  });
}

interface Cleaned {
  readonly angle: number;
  readonly specks: number;
  readonly width: number;
  readonly height: number;
}

async function deskew(page: Uint8Array): Promise<Result> {
  return run("deskew", ["/tmp/page.png", "/tmp/clean.png"], {
    mounts: [file("/tmp/page.png", page)],
    collect: ["/tmp/clean.png"],
  });
}

async function thumbnail(page: Uint8Array, dpi = "150"): Promise<Result> {
  return run("thumbnail", ["/tmp/page.png", "/tmp/thumbnail.png", "--dpi", dpi], {
    mounts: [file("/tmp/page.png", page)],
    collect: ["/tmp/thumbnail.png"],
  });
}

/** Brightness between 0 and 255 of each pixel, or its red, green and blue. */
interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly at: (x: number, y: number, channel: number) => number;
}

function pixels(png: Uint8Array): Pixels {
  const { width, height, channels, depth, data } = decodePng(png);
  const row = Math.ceil((width * channels * depth) / 8);
  const most = 2 ** depth - 1;
  const at = (x: number, y: number, channel: number): number => {
    const bit = (x * channels + Math.min(channel, channels - 1)) * depth;
    const byte = data[y * row + (bit >> 3)] ?? Number.NaN;
    return (((byte >> (8 - depth - (bit & 7))) & most) * 255) / most;
  };
  return { width, height, channels, at };
}

/** The largest difference of any sample from what the other decoder says. */
function farthest(png: Uint8Array, rgba: Uint8Array): number {
  const { width, height, at } = pixels(png);
  assert.equal(rgba.length, width * height * 4);
  let most = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 3; channel++) {
        const expected = rgba[(y * width + x) * 4 + channel] ?? Number.NaN;
        most = Math.max(most, Math.abs(at(x, y, channel) - expected));
      }
    }
  }
  return most;
}

/** How unevenly ink is spread over the rows of a page: level lines of text gather it in few. */
function gathered(png: Uint8Array): number {
  const { width, height, at } = pixels(png);
  const rows = Array.from({ length: height }, (_, y) => {
    let ink = 0;
    for (let x = 0; x < width; x++) if (at(x, y, 1) < 128) ink++;
    return ink;
  });
  const sum = rows.reduce((total, ink) => total + ink, 0);
  return rows.reduce((total, ink) => total + (ink / sum) ** 2, 0) * height;
}

const splitLetter = await split(letter);
const pages = printed(splitLetter) as readonly Page[];
const pageFiles = folderOf(splitLetter);
const cleaned = await Promise.all([...pageFiles.values()].map(deskew));
const cleanedFiles = new Map(
  [...pageFiles.keys()].map((name, index) => [name, fileOf(cleaned[index] ?? splitLetter)]),
);
const found = cleaned.map((result) => printed(result) as Cleaned);
const thumbnails = await Promise.all([...cleanedFiles.values()].map((page) => thumbnail(page)));
const thumbnailFiles = new Map(
  [...pageFiles.keys()].map((name, index) => [name, fileOf(thumbnails[index] ?? splitLetter)]),
);

function sheet(input: unknown, files: Files = thumbnailFiles): Promise<Result> {
  return run("contact_sheet", ["/tmp/thumbs", "/tmp/sheet"], {
    mounts: [...files].map(([name, bytes]) => file(`/tmp/thumbs/${name}`, bytes)),
    collect: ["/tmp/sheet"],
    stdin: typeof input === "string" ? input : JSON.stringify(input),
  });
}

describe("split_pages (Go)", () => {
  test("lists the letter's pages as a scanner wrote them", () => {
    assert.deepEqual(
      pages.map((page) => `${page.file} ${page.width}x${page.height} ${page.dpi} ${page.kind}`),
      [
        "page-001.png 1000x1520 170 colour",
        "page-002.png 1135x1768 300 bilevel",
        "page-003.png 532x939 150 grey",
        "page-004.png 2157x2968 300 bilevel",
        "page-005.png 1138x1998 200 colour",
      ],
    );
    assert.deepEqual(
      [...pageFiles.keys()],
      pages.map((page) => page.file),
    );
  });

  test("gives the pixels that an independent decoder gives", () => {
    for (const [index, directory] of utif.decode(letter).entries()) {
      utif.decodeImage(letter, directory);
      const page = pages[index];
      const difference = farthest(
        pageFiles.get(page?.file ?? "") ?? new Uint8Array(0),
        utif.toRGBA8(directory),
      );
      // Two JPEG decoders may round differently; everything else is exact.
      assert.ok(difference <= (page?.kind === "colour" ? 4 : 0), `${page?.file}: ${difference}`);
    }
  });

  test("writes the same files each time", () => {
    assert.deepEqual(digests(pageFiles), {
      "page-001.png": "50ed66991dd76aab",
      "page-002.png": "aa0c6a5f730620e3",
      "page-003.png": "b99d07ce7af46951",
      "page-004.png": "f89896d44aa2d77c",
      "page-005.png": "d5eb9dfd928595a8",
    });
  });

  const gradient = (x: number, y: number, channel: number): number =>
    (x * 7 + y * 13 + channel * 50) % 256;
  const forms: readonly (readonly [string, Form])[] = [
    ["little-endian strips", {}],
    ["big-endian strips", { bigEndian: true }],
    ["PackBits", { compression: 32773 }],
    ["deflate with a predictor", { compression: 8, predictor: 2 }],
    ["colour in deflate with a predictor", { channels: 3, compression: 8, predictor: 2 }],
    ["16 bits with a predictor", { bits: 16, compression: 8, predictor: 2 }],
    ["16 bits, big-endian", { bits: 16, bigEndian: true, compression: 8, predictor: 2 }],
    ["tiles", { tile: 16 }],
    ["colour tiles in deflate", { tile: 32, channels: 3, compression: 8, predictor: 2 }],
    ["a plane for each colour", { channels: 3, planar: true }],
    ["black at the other end", { whiteIsZero: true }],
  ];
  for (const [name, form] of forms) {
    test(`reads ${name}`, async () => {
      const result = await split(tiff(form, gradient));
      const channels = form.channels ?? 1;
      assert.deepEqual(printed(result), [
        {
          page: 1,
          file: "page-001.png",
          width: 45,
          height: 37,
          dpi: 200,
          kind: channels === 3 ? "colour" : "grey",
        },
      ]);
      const page = pixels(folderOf(result).get("page-001.png") ?? new Uint8Array(0));
      for (let y = 0; y < 37; y++) {
        for (let x = 0; x < 45; x++) {
          for (let channel = 0; channel < channels; channel++) {
            assert.equal(page.at(x, y, channel), gradient(x, y, channel), `${x} ${y} ${channel}`);
          }
        }
      }
    });
  }

  const damaged: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ["a text", Buffer.from("Dear Sir, I have the honour"), /is not a TIFF: it begins with "Dear"/],
    ["nothing", Buffer.alloc(0), /is not a TIFF: it is too short/],
    ["a PDF", Buffer.from("%PDF-1.7\n%aaaa"), /is not a TIFF/],
    ["a BigTIFF", Buffer.from("49492b0008000000", "hex"), /is a BigTIFF/],
    [
      "a letter cut off in its third page",
      letter.subarray(0, 300_000),
      /page 3: the file ends in the middle of it/,
    ],
    [
      "a page of absurd size",
      patched({ tag: 256, value: 2_000_000_000 }),
      /page 1: its size is 2000000000 × 37 pixels; at most 40 million/,
    ],
    ["a page without width", patched({ tag: 256, value: 0 }), /page 1: its size is 0 × 37 pixels/],
    [
      "a compression that no one knows",
      patched({ tag: 259, value: 999 }),
      /page 1: compression 999 is not read here/,
    ],
    ["strips beyond the end", patched({ tag: 273, value: 0xfffffff0 }), /page 1: the file ends/],
    ["a list of pages in a circle", circular(), /page 2: the list of pages runs in a circle/],
    [
      "a damaged picture",
      tiff({ compression: 8 }, gradient).map((byte, at) => (at > 20 && at < 40 ? 0 : byte)),
      /page 1: its picture is damaged/,
    ],
  ];
  for (const [name, bytes, message] of damaged) {
    test(`refuses ${name} with exit code 2 and a sentence`, async () => {
      const result = await split(bytes);
      assert.ok(result.kind === "exited");
      assert.equal(result.exitCode, 2, text(result.stderr));
      assert.match(text(result.stderr), message);
      assert.ok(text(result.stderr).split("\n").length <= 2, text(result.stderr));
    });
  }

  test("survives a letter with any byte changed: it says so, or reads another picture", async () => {
    const small = tiff({ compression: 8, predictor: 2, channels: 3 }, gradient);
    const results = await Promise.all(
      Array.from({ length: 60 }, (_, index) => {
        const bytes = Uint8Array.from(small);
        const at = index < 30 ? index : bytes.length - index;
        bytes[at] = (bytes[at] ?? 0) ^ 0xff;
        return split(bytes);
      }),
    );
    for (const [index, result] of results.entries()) {
      assert.ok(result.kind === "exited", `${index}: ${result.kind}`);
      assert.ok(result.exitCode === 0 || result.exitCode === 2, `${index}: ${result.exitCode}`);
      assert.doesNotMatch(text(result.stderr), /goroutine|panic/);
    }
  });
});

describe("deskew (C)", () => {
  test("finds how far each page is askew", () => {
    assert.deepEqual(
      found.map(({ angle }) => angle),
      [0.38, 1.64, 0, 0, 4.08],
    );
  });

  test("levels the lines: their ink gathers in fewer rows than before", () => {
    for (const [index, { angle }] of found.entries()) {
      const name = pages[index]?.file ?? "";
      if (pages[index]?.kind !== "bilevel" || angle === 0) continue;
      const before = gathered(pageFiles.get(name) ?? new Uint8Array(0));
      const now = gathered(cleanedFiles.get(name) ?? new Uint8Array(0));
      assert.ok(now > before * 1.3, `${name}: ${before} ${now}`);
    }
  });

  test("a level page stays level, so that doing it twice changes nothing more", async () => {
    for (const page of cleanedFiles.values()) {
      const { angle } = printed(await deskew(page)) as Cleaned;
      assert.ok(Math.abs(angle) < 0.15, String(angle));
    }
  });

  test("a dark border becomes white, and paper becomes white where there is no ink", () => {
    const before = pixels(pageFiles.get("page-001.png") ?? new Uint8Array(0));
    const page = pixels(cleanedFiles.get("page-001.png") ?? new Uint8Array(0));
    assert.ok(before.at(2, 700, 1) < 90 && before.at(200, 100, 1) < 240);
    for (const [x, y] of [
      [2, 700],
      [995, 700],
      [500, 1515],
      [200, 200],
      [800, 1350],
    ] as const) {
      assert.equal(page.at(x, y, 1), 255, `${x} ${y}`);
    }
  });

  test("bilevel pages stay bilevel and keep their resolution", () => {
    const page = decodePng(cleanedFiles.get("page-002.png") ?? new Uint8Array(0));
    assert.equal(page.depth, 1);
    assert.equal(page.resolution?.x, 11811);
  });

  test("writes the same files each time", () => {
    assert.deepEqual(digests(cleanedFiles), {
      "page-001.png": "52ceccdb4133a8fd",
      "page-002.png": "2d4e6025e06843bf",
      "page-003.png": "b0a746a9f424f0ee",
      "page-004.png": "0f98e2ce68f818ca",
      "page-005.png": "b7a8a8937d315b7e",
    });
  });
});

describe("thumbnail (Rust)", () => {
  test("makes pages smaller by the resolution asked for, and never larger", () => {
    assert.deepEqual(thumbnails.map(printed), [
      { width: 882, height: 1341 },
      { width: 567, height: 884 },
      { width: 532, height: 939 },
      { width: 1078, height: 1484 },
      { width: 853, height: 1498 },
    ]);
  });

  test("each pixel is the mean of those it covers, to the nearest of 16 levels", () => {
    const name = "page-002.png";
    const page = pixels(cleanedFiles.get(name) ?? new Uint8Array(0));
    const small = pixels(thumbnailFiles.get(name) ?? new Uint8Array(0));
    let sum = 0;
    for (let y = 0; y < small.height; y++) {
      for (let x = 0; x < small.width; x++) {
        const mean =
          [0, 1, 2, 3]
            .map((index) => page.at(x * 2 + (index & 1), y * 2 + (index >> 1), 0))
            .reduce((total, value) => total + value, 0) / 4;
        sum += Math.abs(small.at(x, y, 0) - mean);
      }
    }
    // The page is 2.0018 thumbnails wide, so columns drift by one pixel over the whole width.
    assert.ok(sum / (small.width * small.height) < 12, String(sum / (small.width * small.height)));
  });

  test("writes the same files each time", () => {
    assert.deepEqual(digests(thumbnailFiles), {
      "page-001.png": "94c95762bd49d7c9",
      "page-002.png": "900387db09fbb85d",
      "page-003.png": "ae880274d84708df",
      "page-004.png": "2edf421625f4d307",
      "page-005.png": "2130cd3ae034b170",
    });
  });
});

describe("contact_sheet (Zig)", () => {
  const input = { title: 'A "letter" <1871> & more', pages, deskew: found };

  test("writes one page with every thumbnail in it, and an index", async () => {
    const files = folderOf(await sheet(input));
    assert.deepEqual([...files.keys()].toSorted(), ["index.html", "index.json"]);
    const html = text(files.get("index.html") ?? new Uint8Array(0));
    assert.match(html, /<title>A &quot;letter&quot; &lt;1871> &amp; more<\/title>/);
    const embedded = [...html.matchAll(/data:image\/png;base64,([A-Za-z0-9+/=]+)/g)].map(
      ([, base64 = ""]) => Buffer.from(base64, "base64"),
    );
    assert.deepEqual(
      embedded,
      [...thumbnailFiles.values()].map((bytes) => Buffer.from(bytes)),
    );
    assert.equal(html.match(/<figure /g)?.length, 5);
    assert.doesNotMatch(html, /https?:|<script/);
    const index = JSON.parse(text(files.get("index.json") ?? new Uint8Array(0))) as {
      readonly title: string;
      readonly pages: readonly (Page & Cleaned)[];
    };
    assert.equal(index.title, input.title);
    assert.deepEqual(
      index.pages.map(({ page, file: name, angle }) => ({ page, name, angle })),
      pages.map(({ page, file: name }, at) => ({ page, name, angle: found[at]?.angle })),
    );
  });

  test("writes the same files each time", async () => {
    assert.deepEqual(digests(folderOf(await sheet(input))), {
      "index.html": "ecfa6f1737968978",
      "index.json": "6f04cd481775ed50",
    });
  });

  const wrong: readonly (readonly [string, Promise<Result>, RegExp])[] = [
    ["no JSON", sheet("pages"), /stdin is not the list of pages/],
    [
      "a list of other things",
      sheet({ title: "", pages: [1], deskew: [] }),
      /stdin is not the list/,
    ],
    ["fewer results than pages", sheet({ title: "", pages, deskew: [] }), /5 pages and 0 results/],
    ["a missing thumbnail", sheet(input, new Map()), /page 1 has no thumbnail page-001\.png/],
  ];
  for (const [name, result, message] of wrong) {
    test(`refuses ${name} with exit code 2 and a sentence`, async () => {
      const ended = await result;
      assert.ok(ended.kind === "exited");
      assert.equal(ended.exitCode, 2, text(ended.stderr));
      assert.match(text(ended.stderr), message);
    });
  }
});

describe("what deskew and thumbnail say of a PNG that they cannot use", () => {
  const page = pageFiles.get("page-003.png") ?? new Uint8Array(0);
  const absurd = Uint8Array.from(page);
  new DataView(absurd.buffer).setUint32(16, 0x7fffffff);
  const withCheck = Uint8Array.from(absurd);
  new DataView(withCheck.buffer).setUint32(29, crc(withCheck.subarray(12, 29)));
  const cases: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ["a TIFF", letter, /is not a PNG/],
    ["nothing", Buffer.alloc(0), /is not a PNG/],
    ["half a page", page.subarray(0, page.length / 2), /is cut off after \d+ bytes/],
    ["a changed head", absurd, /is damaged near byte 8/],
    ["absurd dimensions", withCheck, /has 2147483647 × 939 pixels; at most 40 million/],
    ["data that cannot be unpacked", repacked(page), /is damaged: it/],
  ];
  for (const [name, bytes, message] of cases) {
    for (const [guest, start] of [
      ["deskew", deskew],
      ["thumbnail", thumbnail],
    ] as const) {
      test(`${guest} refuses ${name} with exit code 2 and a sentence`, async () => {
        const result = await start(bytes);
        assert.ok(result.kind === "exited", JSON.stringify(result));
        assert.equal(result.exitCode, 2, text(result.stderr));
        assert.match(text(result.stderr), message);
      });
    }
  }

  test("a resolution that is none is refused", async () => {
    for (const dpi of ["0", "many", "-5", "99999"]) {
      const result = await thumbnail(page, dpi);
      assert.ok(result.kind === "exited");
      assert.equal(result.exitCode, 2);
      assert.match(text(result.stderr), /is not a number from 10 to 1200/);
    }
  });
});

describe("the workflow", () => {
  const home = mkdtempSync(join(tmpdir(), "letterflow-"));
  after(() => rmSync(home, { recursive: true, force: true }));
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      "--no-warnings",
      resolve(example, "../../src/cli/main.ts"),
      "run",
      join(example, "workflow.yaml"),
      "-a",
      `doc=${join(example, "letter.tiff")}`,
      "--name",
      "letter",
      "--output-dir",
      join(home, "out"),
      "--json",
    ],
    { encoding: "utf8", env: { PATH: process.env["PATH"], HOME: home } },
  );

  test("runs one command from the scan to the sheet", () => {
    assert.equal(status, 0, stderr);
    const names = new Set(stdout.split("\n").map((line) => /"name":"([^"]*)"/.exec(line)?.[1]));
    assert.ok(names.has("letter[0].split") && names.has("letter[3].join"), [...names].join("\n"));
  });

  test("hands out what its steps give when they are run one by one", () => {
    for (const [name, bytes] of cleanedFiles) {
      assert.deepEqual(readFileSync(join(home, "out/letter", name)), Buffer.from(bytes), name);
    }
    const html = readFileSync(join(home, "out/sheet/index.html"), "utf8");
    for (const bytes of thumbnailFiles.values()) {
      assert.ok(html.includes(Buffer.from(bytes).toString("base64")));
    }
    const index = readFileSync(join(home, "out/index"));
    assert.deepEqual(index, readFileSync(join(home, "out/sheet/index.json")));
    const { title, pages: listed } = JSON.parse(index.toString()) as {
      readonly title: string;
      readonly pages: readonly Cleaned[];
    };
    assert.equal(title, "letter");
    assert.deepEqual(
      listed.map(({ angle, specks }) => ({ angle, specks })),
      found.map(({ angle, specks }) => ({ angle, specks })),
    );
  });
});

interface Form {
  readonly bigEndian?: boolean;
  readonly channels?: 1 | 3;
  readonly bits?: 8 | 16;
  readonly compression?: 1 | 8 | 32773;
  readonly predictor?: 1 | 2;
  readonly tile?: number;
  readonly planar?: boolean;
  readonly whiteIsZero?: boolean;
}

/** A small TIFF of 45 × 37 pixels with strips of 10 rows, or tiles. */
function tiff(
  form: Form,
  value: (x: number, y: number, channel: number) => number,
  tags: ReadonlyMap<number, number> = new Map(),
): Uint8Array {
  const [width, height] = [45, 37];
  const { channels = 1, bits = 8, compression = 1, predictor = 1, tile = 0 } = form;
  const chunkWidth = tile || width;
  const chunkHeight = tile || 10;
  const planes = form.planar ? channels : 1;
  const out: number[] = [];
  const put = (number: number, bytes: number): void => {
    for (let index = 0; index < bytes; index++) {
      out.push(Math.floor(number / 256 ** (form.bigEndian ? bytes - 1 - index : index)) % 256);
    }
  };
  out.push(...Buffer.from(form.bigEndian ? "MM" : "II"));
  put(42, 2);
  put(0, 4);
  const places: { readonly at: number; readonly size: number }[] = [];
  for (let plane = 0; plane < planes; plane++) {
    for (let top = 0; top < height; top += chunkHeight) {
      for (let left = 0; left < width; left += chunkWidth) {
        const rows = tile || Math.min(chunkHeight, height - top);
        const chunk = chunkOf(rows, (column, row, channel) =>
          value(left + column, top + row, form.planar ? plane : channel),
        );
        places.push({ at: out.length, size: chunk.length });
        out.push(...chunk);
      }
    }
  }

  function chunkOf(
    rows: number,
    sample: (column: number, row: number, channel: number) => number,
  ): Uint8Array {
    const inRow = channels / planes;
    const range = 2 ** bits;
    const bytes: number[] = [];
    for (let row = 0; row < rows; row++) {
      const line = Array.from({ length: chunkWidth * inRow }, (_, index) => {
        const level = sample(Math.floor(index / inRow), row, index % inRow);
        return (form.whiteIsZero ? 255 - level : level) * (bits === 16 ? 257 : 1);
      });
      for (const [index, level] of line.entries()) {
        const before = predictor === 2 && index >= inRow ? (line[index - inRow] ?? 0) : 0;
        const stored = (level - before + range) % range;
        const pair = [stored >> 8, stored & 255];
        if (bits === 8) bytes.push(stored);
        else bytes.push(...(form.bigEndian ? pair : pair.toReversed()));
      }
    }
    if (compression === 8) return deflateSync(Uint8Array.from(bytes));
    if (compression === 1) return Uint8Array.from(bytes);
    // PackBits: a run of three, then single bytes, so that both forms occur.
    const packed: number[] = [];
    for (let at = 0; at < bytes.length;) {
      const same = bytes[at] === bytes[at + 1] && bytes[at] === bytes[at + 2];
      if (same) packed.push(254, bytes[at] ?? 0);
      else packed.push(0, bytes[at] ?? 0);
      at += same ? 3 : 1;
    }
    return Uint8Array.from(packed);
  }

  const lists: [number, readonly number[]][] = [
    [256, [width]],
    [257, [height]],
    [258, Array.from({ length: channels }, () => bits)],
    [259, [compression]],
    [262, [channels === 3 ? 2 : form.whiteIsZero ? 0 : 1]],
    [277, [channels]],
    [284, [form.planar ? 2 : 1]],
    [317, [predictor]],
    [tile ? 324 : 273, places.map(({ at }) => at)],
    [tile ? 325 : 279, places.map(({ size }) => size)],
  ];
  if (tile) lists.push([322, [tile]], [323, [tile]]);
  else lists.push([278, [chunkHeight]]);
  const entries = lists
    .map(([tag, list]): [number, readonly number[]] => {
      const instead = tags.get(tag);
      return [tag, instead === undefined ? list : list.map(() => instead)];
    })
    .toSorted(([left], [right]) => left - right);
  const starts = entries.map(([, list]) => {
    const at = out.length;
    if (list.length > 1) for (const number of list) put(number, 4);
    return at;
  });
  const directory = out.length;
  put(entries.length, 2);
  for (const [index, [tag, list]] of entries.entries()) {
    put(tag, 2);
    put(4, 2);
    put(list.length, 4);
    put(list.length > 1 ? (starts[index] ?? 0) : (list[0] ?? 0), 4);
  }
  put(0, 4);
  const bytes = Uint8Array.from(out);
  new DataView(bytes.buffer).setUint32(4, directory, !form.bigEndian);
  return bytes;
}

function patched(change: { readonly tag: number; readonly value: number }): Uint8Array {
  return tiff({}, () => 0, new Map([[change.tag, change.value]]));
}

function circular(): Uint8Array {
  const bytes = tiff({}, () => 0);
  const view = new DataView(bytes.buffer);
  view.setUint32(bytes.length - 4, view.getUint32(4, true), true);
  return bytes;
}

function crc(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return ~value >>> 0;
}

/** The page with the middle of its data overwritten, and a check sum that agrees. */
function repacked(page: Uint8Array): Uint8Array {
  const bytes = Uint8Array.from(page);
  const view = new DataView(bytes.buffer);
  const at = Buffer.from(bytes).indexOf("IDAT");
  const size = view.getUint32(at - 4);
  bytes.fill(0xff, at + 4 + size / 2, at + 4 + size / 2 + 64);
  view.setUint32(at + 4 + size, crc(bytes.subarray(at, at + 4 + size)));
  return bytes;
}
