import { Fault } from "../failure.ts";
import { define, type Arguments, type Context, type Function } from "../functions.ts";
import { parseInt64 } from "../strings.ts";
import { Duration, Time, Zone } from "../time.ts";
import type { Value } from "../value.ts";

const billion = 1_000_000_000n;
/** Go's time of nothing: the first of January of the year 1. */
const never = new Time(-62_135_596_800n * billion, Zone.utc);

/** A time, or seconds since 1970; anything else is now, as in sprig. */
function timeOf(value: Value, { now }: Context): Time {
  if (value instanceof Time) return value;
  if (typeof value === "bigint") return new Time(value * billion, Zone.utc);
  return Time.fromMilliseconds(now, Zone.utc);
}

/** What sprig's functions without `must` make of a mistake. */
function orElse<Made>(make: () => Made, otherwise: Made): Made {
  try {
    return make();
  } catch (error) {
    if (error instanceof Fault && error.problem === "value") return otherwise;
    throw error;
  }
}

function inZone(layout: string, date: Value, zone: string, context: Context): string {
  const found = orElse(() => Zone.load(zone), Zone.utc);
  return timeOf(date, context).in(found).format(layout);
}

function time(given: Arguments, index: number): Time {
  const value = given.value(index);
  if (!(value instanceof Time)) throw given.wrong(index, "time.Time");
  return value;
}

function modify(given: Arguments): Time {
  return time(given, 1).plus(Duration.parse(given.text(0)).nanoseconds);
}

const lenientModify = define(2, 2, (given) => orElse(() => modify(given), time(given, 1)));
const strictModify = define(2, 2, modify);

const zoned = define(3, 3, (given, context) =>
  inZone(given.text(0), given.value(1), given.text(2), context),
);

function toDate(given: Arguments): Time {
  return Time.parse(given.text(0), given.text(1));
}

const units: readonly (readonly [string, bigint])[] = [
  ["y", 24n * 365n * 3600n],
  ["mo", 24n * 30n * 3600n],
  ["d", 24n * 3600n],
  ["h", 3600n],
  ["m", 60n],
  ["s", 1n],
];

function roundDuration(value: Value, { now }: Context): string {
  let nanoseconds = 0n;
  if (typeof value === "string") {
    nanoseconds = orElse(() => Duration.parse(value).nanoseconds, 0n);
  }
  if (value instanceof Time) nanoseconds = BigInt(Math.trunc(now)) * 1_000_000n - value.nanoseconds;
  const size = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  for (const [unit, seconds] of units) {
    if (size > seconds * billion) return `${size / (seconds * billion)}${unit}`;
  }
  return "0s";
}

export const dates: ReadonlyMap<string, Function> = new Map([
  ["now", define(0, 0, (_, { now }) => Time.fromMilliseconds(now, Zone.utc))],
  ["date", define(2, 2, (given, context) => inZone(given.text(0), given.value(1), "UTC", context))],
  ["dateInZone", zoned],
  ["date_in_zone", zoned],
  [
    "htmlDate",
    define(1, 1, (given, context) => inZone("2006-01-02", given.value(0), "UTC", context)),
  ],
  [
    "htmlDateInZone",
    define(2, 2, (given, context) => inZone("2006-01-02", given.value(0), given.text(1), context)),
  ],
  ["dateModify", lenientModify],
  ["date_modify", lenientModify],
  ["mustDateModify", strictModify],
  ["must_date_modify", strictModify],
  [
    "ago",
    define(1, 1, (given, context) => {
      const since =
        BigInt(Math.trunc(context.now)) * 1_000_000n - timeOf(given.value(0), context).nanoseconds;
      const half = since < 0n ? -billion / 2n : billion / 2n;
      return new Duration(((since + half) / billion) * billion).toString();
    }),
  ],
  [
    "duration",
    define(1, 1, (given) => {
      const value = given.value(0);
      const seconds = typeof value === "string" ? (parseInt64(value) ?? 0n) : 0n;
      return new Duration(seconds * billion).toString();
    }),
  ],
  ["durationRound", define(1, 1, (given, context) => roundDuration(given.value(0), context))],
  ["toDate", define(2, 2, (given) => orElse(() => toDate(given), never))],
  ["mustToDate", define(2, 2, toDate)],
  [
    "unixEpoch",
    define(1, 1, (given) => {
      const { nanoseconds } = time(given, 0);
      const seconds = nanoseconds / billion;
      return String(nanoseconds % billion < 0n ? seconds - 1n : seconds);
    }),
  ],
]);
