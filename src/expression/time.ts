import { fault } from "./failure.ts";
import { formatTime, nanosecondsPerSecond, parseTime, type Civil } from "./layout.ts";

/** Go's time.Duration. */
export class Duration {
  readonly nanoseconds: bigint;

  constructor(nanoseconds: bigint) {
    this.nanoseconds = BigInt.asIntN(64, nanoseconds);
  }

  /** Reads Go's form, such as `1h30m` or `-1.5s`. */
  static parse(text: string): Duration {
    const bad = fault(
      `invalid duration "${text.slice(0, 100)}"`,
      "A duration is written like 90s, 1h30m or 1.5h.",
    );
    const whole = text.length > durationCeiling ? null : durationPattern.exec(text);
    if (whole === null) throw bad;
    let total = 0n;
    for (const [, amount = "0", unit = "s"] of (whole[2] ?? "").matchAll(
      /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/gu,
    )) {
      const [integer = "0", fraction = ""] = amount.split(".");
      const scale = units.get(unit) ?? 1n;
      total += BigInt(integer === "" ? "0" : integer) * scale;
      if (fraction !== "") total += (BigInt(fraction) * scale) / 10n ** BigInt(fraction.length);
      if (total > 2n ** 63n - 1n) throw bad;
    }
    return new Duration(whole[1] === "-" ? -total : total);
  }

  get seconds(): number {
    const { nanoseconds } = this;
    return (
      Number(nanoseconds / nanosecondsPerSecond) + Number(nanoseconds % nanosecondsPerSecond) / 1e9
    );
  }

  /** Go's form: `1h0m0s`, `1.5s`, `250ms`, `0s`. */
  toString(): string {
    const { nanoseconds } = this;
    if (nanoseconds === 0n) return "0s";
    const minus = nanoseconds < 0n ? "-" : "";
    const size = nanoseconds < 0n ? -nanoseconds : nanoseconds;
    if (size < nanosecondsPerSecond) {
      const [unit, scale]: readonly [string, number] =
        size < 1000n ? ["ns", 0] : size < 1_000_000n ? ["µs", 3] : ["ms", 6];
      return `${minus}${decimal(size, scale)}${unit}`;
    }
    const minutes = size / (60n * nanosecondsPerSecond);
    const hours = minutes / 60n;
    const seconds = decimal(size % (60n * nanosecondsPerSecond), 9);
    const front = hours > 0n ? `${hours}h${minutes % 60n}m` : minutes > 0n ? `${minutes}m` : "";
    return `${minus}${front}${seconds}s`;
  }
}

const durationCeiling = 1000;
const durationPattern = /^([+-]?)(0|(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$/u;

const units: ReadonlyMap<string, bigint> = new Map([
  ["ns", 1n],
  ["us", 1000n],
  ["µs", 1000n],
  ["μs", 1000n],
  ["ms", 1_000_000n],
  ["s", nanosecondsPerSecond],
  ["m", 60n * nanosecondsPerSecond],
  ["h", 3600n * nanosecondsPerSecond],
]);

function decimal(value: bigint, places: number): string {
  const digits = String(value).padStart(places + 1, "0");
  const whole = digits.slice(0, digits.length - places);
  const fraction = digits.slice(digits.length - places).replace(/0+$/u, "");
  return fraction === "" ? whole : `${whole}.${fraction}`;
}

/** Go's time.Location: UTC, a zone of the IANA database, or a fixed offset. */
export class Zone {
  static readonly utc: Zone = new Zone("UTC", 0);

  readonly name: string;
  /** Seconds east of UTC, for a zone without rules. */
  readonly #fixed: number | undefined;

  private constructor(name: string, fixed: number | undefined) {
    this.name = name;
    this.#fixed = fixed;
  }

  /** The host's own zone is not told: `Local` is UTC, as it is in a container. */
  static load(name: string): Zone {
    if (name === "" || name === "UTC" || name === "Local") return Zone.utc;
    if (!/^[A-Za-z0-9_+\-/]{1,64}$/u.test(name) || /^[+-]/u.test(name) || !known(name)) {
      throw fault(`unknown time zone ${name.slice(0, 100)}`, "A zone is named like Europe/Zurich.");
    }
    return new Zone(name, undefined);
  }

  static fixed(name: string, seconds: number): Zone {
    return seconds === 0 && (name === "UTC" || name === "") ? Zone.utc : new Zone(name, seconds);
  }

  /** Seconds east of UTC at a time. */
  offset(milliseconds: number): number {
    if (this.#fixed !== undefined) return this.#fixed;
    const parts = new Map(
      clock(this.name)
        .formatToParts(milliseconds)
        .map(({ type, value }) => [type, Number(value)]),
    );
    const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? 0;
    const local = Date.UTC(
      part("year"),
      part("month") - 1,
      part("day"),
      part("hour"),
      part("minute"),
      part("second"),
    );
    return Math.round((local - Math.floor(milliseconds / 1000) * 1000) / 1000);
  }

  /** The zone's abbreviation at a time, or its offset where it has none. */
  abbreviation(milliseconds: number): string {
    if (this.#fixed !== undefined) {
      // Without a name Go writes all four digits, where a zone of the database would have two.
      return this.name === "" ? offsetText(this.#fixed, true) : this.name;
    }
    // Each English locale abbreviates only the zones near it.
    for (const locale of ["en-US", "en-GB", "en-AU", "en-IN"]) {
      const name = namer(locale, this.name)
        .formatToParts(milliseconds)
        .find(({ type }) => type === "timeZoneName")?.value;
      if (name !== undefined && /^[A-Z]{3,5}$/u.test(name)) return name;
    }
    return offsetText(this.offset(milliseconds));
  }

  /** The instant that a local date and time stands for. */
  instant(localMilliseconds: number): number {
    if (this.#fixed !== undefined) return localMilliseconds - this.#fixed * 1000;
    // The offset an hour away may differ from the one there: look once at a guess, once at its outcome.
    const guess = localMilliseconds - this.offset(localMilliseconds) * 1000;
    return localMilliseconds - this.offset(guess) * 1000;
  }

  toString(): string {
    return this.name;
  }
}

function offsetText(seconds: number, full = false): string {
  const size = Math.abs(seconds);
  const hours = String(Math.trunc(size / 3600)).padStart(2, "0");
  const minutes = Math.trunc(size / 60) % 60;
  return `${seconds < 0 ? "-" : "+"}${hours}${minutes === 0 && !full ? "" : String(minutes).padStart(2, "0")}`;
}

/** One formatter a zone; there are a few hundred zones, so both maps stay small. */
const clocks = new Map<string, Intl.DateTimeFormat>();
const namers = new Map<string, Intl.DateTimeFormat>();

function clock(zone: string): Intl.DateTimeFormat {
  let made = clocks.get(zone);
  made ??= new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  clocks.set(zone, made);
  return made;
}

function namer(locale: string, zone: string): Intl.DateTimeFormat {
  const key = `${locale} ${zone}`;
  let made = namers.get(key);
  made ??= new Intl.DateTimeFormat(locale, { timeZone: zone, timeZoneName: "short" });
  namers.set(key, made);
  return made;
}

function known(zone: string): boolean {
  try {
    clock(zone);
    return true;
  } catch {
    return false;
  }
}

/** Go's time.Time: an instant with the zone that it is shown in. */
export class Time {
  /** Since 1970 in UTC. */
  readonly nanoseconds: bigint;
  readonly zone: Zone;

  constructor(nanoseconds: bigint, zone: Zone) {
    this.nanoseconds = nanoseconds;
    this.zone = zone;
  }

  static fromMilliseconds(milliseconds: number, zone: Zone): Time {
    return new Time(BigInt(Math.trunc(milliseconds)) * 1_000_000n, zone);
  }

  /** Reads a text by a layout of Go's. */
  static parse(layout: string, text: string, zone: Zone = Zone.utc): Time {
    const parsed = parseTime(layout, text);
    const local = civilMilliseconds(parsed);
    let found = zone;
    if (parsed.offset !== undefined) found = Zone.fixed(parsed.zone ?? "", parsed.offset);
    else if (parsed.zone !== undefined) found = Zone.fixed(parsed.zone, 0);
    const instant = found.instant(local);
    return new Time(BigInt(instant) * 1_000_000n + BigInt(parsed.nanosecond), found);
  }

  get milliseconds(): number {
    return Number(this.nanoseconds / 1_000_000n);
  }

  in(zone: Zone): Time {
    return new Time(this.nanoseconds, zone);
  }

  plus(nanoseconds: bigint): Time {
    const moved = this.nanoseconds + nanoseconds;
    // Beyond the years that JavaScript's Date knows, nothing could be formatted.
    if (moved > latest || moved < -latest) throw fault("the time is too far from now");
    return new Time(moved, this.zone);
  }

  /** The date and time on the clock of the zone. */
  civil(): Civil {
    let seconds = this.nanoseconds / nanosecondsPerSecond;
    let nanosecond = this.nanoseconds % nanosecondsPerSecond;
    if (nanosecond < 0n) {
      nanosecond += nanosecondsPerSecond;
      seconds -= 1n;
    }
    const milliseconds = Number(seconds) * 1000;
    const offset = this.zone.offset(milliseconds);
    const date = new Date(milliseconds + offset * 1000);
    return {
      year: date.getUTCFullYear(),
      month: date.getUTCMonth() + 1,
      day: date.getUTCDate(),
      hour: date.getUTCHours(),
      minute: date.getUTCMinutes(),
      second: date.getUTCSeconds(),
      nanosecond: Number(nanosecond),
      offset,
      zone: this.zone.abbreviation(milliseconds),
    };
  }

  format(layout: string): string {
    return formatTime(layout, this.civil());
  }

  toRfc3339(): string {
    return this.format("2006-01-02T15:04:05.999999999Z07:00");
  }

  toString(): string {
    return this.format("2006-01-02 15:04:05.999999999 -0700 MST");
  }
}

const latest = 8_640_000_000_000_000n * 1_000_000n;

function civilMilliseconds(civil: Civil): number {
  const date = new Date(0);
  date.setUTCFullYear(civil.year, civil.month - 1, civil.day);
  date.setUTCHours(civil.hour, civil.minute, civil.second);
  return date.getTime();
}
