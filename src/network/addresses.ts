import { isIP, isIPv4 } from "node:net";
import { Failure } from "../errors/mod.ts";

/** A range of addresses. Addresses of version 4 lie where version 6 maps them (`::ffff:0:0/96`), so that there is one kind. */
interface Range {
  readonly first: bigint;
  readonly bits: number;
}

const mapped = 0xffffn << 32n;
const width = 128;

/** Ranges that are not for everybody, with what they are (IANA's registries of special-purpose addresses, and clouds' own). */
const special = [
  ["0.0.0.0/8", "of this host"],
  ["10.0.0.0/8", "private"],
  ["100.64.0.0/10", "shared by a carrier"],
  ["127.0.0.0/8", "loopback"],
  ["169.254.0.0/16", "link-local"],
  ["172.16.0.0/12", "private"],
  ["192.0.0.0/24", "reserved"],
  ["192.0.2.0/24", "for documentation"],
  ["192.88.99.0/24", "of a relay"],
  ["192.168.0.0/16", "private"],
  ["198.18.0.0/15", "for benchmarks"],
  ["198.51.100.0/24", "for documentation"],
  ["203.0.113.0/24", "for documentation"],
  ["224.0.0.0/4", "multicast"],
  ["240.0.0.0/4", "reserved"],
  ["2001::/23", "of a protocol"],
  ["2001:db8::/32", "for documentation"],
  ["2002::/16", "of a relay"],
  ["3fff::/20", "for documentation"],
  ["fc00::/7", "private"],
  ["fe80::/10", "link-local"],
  ["fec0::/10", "private"],
  ["ff00::/8", "multicast"],
  ["::1/128", "loopback"],
  ["::/128", "of this host"],
] as const;

/** Where clouds tell a machine its keys. A wider range does not open them. */
const metadata = [
  "169.254.169.254/32",
  "169.254.170.2/32",
  "169.254.170.23/32",
  "100.100.100.200/32",
  "168.63.129.16/32",
  "192.0.0.192/32",
  "fd00:ec2::254/128",
  "fd00:ec2::23/128",
  "fd20:ce::254/128",
];

/** The ranges, parsed when the first address is looked at: each start of the command line would pay 5 ms for them. */
let parsed: ReturnType<typeof parseKnown> | undefined;

function parseKnown() {
  return {
    special: special.map(([text, what]) => [parseRange(text), what] as const),
    metadata: metadata.map(parseRange),
    version4: parseRange("0.0.0.0/0"),
    global6: parseRange("2000::/3"),
    /** A translator's (RFC 6052): the last 32 bits are an address of version 4, and that is where it leads. */
    translated: parseRange("64:ff9b::/96"),
  };
}

/** Reads `10.0.0.0/8`, `127.0.0.1`, `fd00::/8`. Throws `invalid-argument`. */
export function parseRanges(texts: readonly string[]): readonly Range[] {
  return texts.map(parseRange);
}

/** Why no connection may be made to an address, or undefined when it may. */
export function refusedAddress(text: string, allowed: readonly Range[]): string | undefined {
  const given = parseAddress(text);
  if (given === undefined) return "no address";
  parsed ??= parseKnown();
  const { version4, global6, translated } = parsed;
  const inside = within(given, translated) ? mapped | (given & 0xffff_ffffn) : given;
  const secret = parsed.metadata.some((range) => within(inside, range));
  if (allowed.some((range) => within(inside, range) && (!secret || range.bits === width))) {
    return undefined;
  }
  if (secret) return "a metadata service's";
  const [, what] = parsed.special.find(([range]) => within(inside, range)) ?? [];
  if (what !== undefined) return what;
  if (!within(inside, version4) && !within(inside, global6)) return "not public";
  // An automatic tunnel (RFC 5214) leads to the address of version 4 at its end.
  const tunnel = (inside >> 32n) & 0xffff_ffffn;
  if (!within(inside, version4) && (tunnel === 0x5efen || tunnel === 0x0200_5efen))
    return "of a tunnel";
  return undefined;
}

function within(address: bigint, { first, bits }: Range): boolean {
  const rest = BigInt(width - bits);
  return address >> rest === first >> rest;
}

function parseRange(text: string): Range {
  const [address = "", bits, ...more] = text.split("/");
  const first = parseAddress(address);
  const size = isIPv4(address) ? 32 : width;
  const count = bits === undefined ? size : /^\d{1,3}$/.test(bits) ? Number(bits) : -1;
  if (first === undefined || more.length > 0 || count < 0 || count > size) {
    throw new Failure("invalid-argument", `"${text}" is no address and no range of addresses`, {
      hint: 'Write an address such as "127.0.0.1", or a range such as "10.0.0.0/8".',
    });
  }
  return { first, bits: width - size + count };
}

function parseAddress(text: string): bigint | undefined {
  if (isIP(text) === 0 || text.includes("%")) return undefined;
  if (isIPv4(text)) return mapped | parse4(text);
  const dotted = /^(.*:)([\d.]+\.[\d.]+)$/.exec(text);
  const low = dotted ? parse4(dotted[2] ?? "") : undefined;
  const plain =
    low === undefined
      ? text
      : `${dotted?.[1] ?? ""}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`;
  const [head = "", tail] = plain.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from(
    { length: tail === undefined ? 0 : 8 - left.length - right.length },
    () => "0",
  );
  return [...left, ...zeros, ...right].reduce(
    (sum, group) => (sum << 16n) | BigInt(`0x${group}`),
    0n,
  );
}

function parse4(text: string): bigint {
  return text.split(".").reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}
