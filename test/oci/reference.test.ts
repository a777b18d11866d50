import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Failure } from "../../src/errors/mod.ts";
import { formatReference, parseReference } from "../../src/oci/mod.ts";
import { failed } from "./setting.ts";

const digest = `sha256:${"0123456789abcdef".repeat(4)}`;
const long = `sha512:${"0123456789abcdef".repeat(8)}`;

/** As docker's own parser reads them, but that hosts are written in lower case. */
const read: readonly (readonly [text: string, full: string])[] = [
  ["alpine", "docker.io/library/alpine:latest"],
  ["alpine:3.20", "docker.io/library/alpine:3.20"],
  ["acme/step", "docker.io/acme/step:latest"],
  ["docker.io/alpine", "docker.io/library/alpine:latest"],
  ["index.docker.io/alpine", "docker.io/library/alpine:latest"],
  ["registry-1.docker.io/acme/step:1", "docker.io/acme/step:1"],
  ["ghcr.io/acme/step:1.2", "ghcr.io/acme/step:1.2"],
  ["ghcr.io/step", "ghcr.io/step:latest"],
  ["localhost/step", "localhost/step:latest"],
  ["localhost:5000/step", "localhost:5000/step:latest"],
  ["registry:5000/step", "registry:5000/step:latest"],
  ["10.0.0.1:5000/a/b/c/d:x", "10.0.0.1:5000/a/b/c/d:x"],
  ["[::1]:5000/step", "[::1]:5000/step:latest"],
  ["[2001:db8::1]/step", "[2001:db8::1]/step:latest"],
  ["GHCR.io/acme/step", "ghcr.io/acme/step:latest"],
  [`alpine@${digest}`, `docker.io/library/alpine@${digest}`],
  [`alpine:3@${digest}`, `docker.io/library/alpine:3@${digest}`],
  [`localhost:5000/step@${long}`, `localhost:5000/step@${long}`],
  ["a/b__c/d-e--f/g.h_i", "docker.io/a/b__c/d-e--f/g.h_i:latest"],
  ["step:_Tag.with-all_0", "docker.io/library/step:_Tag.with-all_0"],
  [`step:${"t".repeat(128)}`, `docker.io/library/step:${"t".repeat(128)}`],
  [`a.io/${"n".repeat(250)}`, `a.io/${"n".repeat(250)}:latest`],
];

const wrong: readonly (readonly [text: string, message: RegExp, hint: RegExp])[] = [
  ["", /it is empty/, /such as/],
  ["https://ghcr.io/acme/step", /begins with https:\/\//, /without https/],
  ["docker://alpine", /begins with docker:\/\//, /without docker/],
  ["alpine latest", /has a blank/, /Remove/],
  ["Alpine", /"Alpine" has capitals/, /Write "alpine"/],
  ["ghcr.io/Acme/step", /has capitals/, /Write "acme\/step"/],
  ["Registry/acme/step", /has capitals/, /Write "registry\/acme\/step"/],
  ["acme//step", /a part of the name is empty/, /lower-case/],
  ["/step", /a part of the name is empty/, /lower-case/],
  ["ghcr.io/", /a part of the name is empty/, /lower-case/],
  ["ghcr.io/../step", /"\.\." cannot be part of a name/, /lower-case/],
  ["a..b", /"a\.\.b" cannot be part/, /lower-case/],
  ["-step", /"-step" cannot be part/, /lower-case/],
  ["step_", /"step_" cannot be part/, /lower-case/],
  ["a/ä", /"ä" cannot be part/, /lower-case/],
  ["step:", /"" is no tag/, /at most 128/],
  ["step:-1", /"-1" is no tag/, /at most 128/],
  ["step:a/b:c:d", /"c:d" is no tag/, /at most 128/],
  [`step:${"t".repeat(129)}`, /its tag has 129 characters/, /at most 128/],
  ["ghcr.io:/step", /"" is no port/, /such as/],
  ["ghcr.io:0/step", /"0" is no port/, /such as/],
  ["ghcr.io:65536/step", /"65536" is no port/, /such as/],
  ["-ghcr.io/step", /"-ghcr\.io" is no host/, /such as/],
  ["[::1/step", /is no host/, /such as/],
  ["user@ghcr.io/step", /has an algorithm other than sha256 and sha512/, /@sha256:/],
  [`step@md5:${"0".repeat(32)}`, /algorithm other than/, /@sha256:/],
  ["step@sha256:abc", /its digest has 3 characters where 64 digits are/, /@sha256:/],
  [`step@${digest.toUpperCase().replace("SHA", "sha")}`, /its digest has capitals/, /lower case/],
  ["0".repeat(64), /may not look like a digest/, /name@sha256:/],
  [`a.io/${"n".repeat(251)}`, /registry and repository have 256 characters/, /At most 255/],
  [`a.io/${"/n".repeat(5000)}`, /"a\.io\/.{295}…" is no image reference/, /lower-case/],
];

describe("A reference", () => {
  for (const [text, full] of read) {
    test(`"${text.slice(0, 60)}" is ${full.slice(0, 60)}`, () => {
      assert.equal(formatReference(parseReference(text)), full);
      assert.equal(formatReference(parseReference(full)), full);
    });
  }
  for (const [text, message, hint] of wrong) {
    test(`"${text.slice(0, 60)}" is refused: ${message.source}`, () => {
      assert.throws(() => parseReference(text), failed("invalid-argument", message, hint));
    });
  }

  test("of any signs is refused with a reason, or is one that is read again as it is", () => {
    const seed = Date.now() % 2 ** 31;
    let state = seed;
    const chance = (below: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return (state >> 8) % below;
    };
    const pieces = [
      "a",
      "b0",
      ".",
      "-",
      "_",
      "__",
      "/",
      ":",
      "@",
      "sha256:",
      "0".repeat(64),
      "A",
      "localhost",
      "5000",
      "[::1]",
      " ",
      "é",
      "latest",
      "docker.io",
      "\u0000",
      "//",
      "..",
    ];
    for (let round = 0; round < 20_000; round++) {
      const text = Array.from({ length: 1 + chance(8) }, () => pieces[chance(pieces.length)]).join(
        "",
      );
      let full: string;
      try {
        full = formatReference(parseReference(text));
      } catch (thrown) {
        assert(thrown instanceof Failure && thrown.hint !== undefined, `${text} (seed ${seed})`);
        continue;
      }
      assert.equal(formatReference(parseReference(full)), full, `${text} (seed ${seed})`);
      // It becomes a URL's path and a folder's name.
      assert.match(
        full,
        /^[a-z0-9[\]:.-]+\/[a-z0-9._/-]+(?::[\w.-]+)?(?:@[a-z0-9:]+)?$/,
        `${text} (seed ${seed})`,
      );
      assert(!full.split(/[/:@]/).includes(".."), `${text} (seed ${seed})`);
    }
  });
});
