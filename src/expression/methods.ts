import { fault } from "./failure.ts";
import { Arguments, type Context } from "./functions.ts";
import { weekday, yearDay } from "./layout.ts";
import { Duration, Time, Zone } from "./time.ts";
import { typeName, type Value } from "./value.ts";
import { Version } from "./version.ts";

/** Calls a method of a time, a duration, a time zone or a version; nothing else has any. */
export function callMethod(
  receiver: Value,
  name: string,
  values: readonly Value[],
  { budget }: Context,
): Value {
  budget.step();
  const given = new Arguments(name, values);
  let method: Method | undefined;
  if (receiver instanceof Time) method = timeMethods.get(name)?.(receiver);
  if (receiver instanceof Duration) method = durationMethods.get(name)?.(receiver);
  if (receiver instanceof Version) method = versionMethods.get(name)?.(receiver);
  if (receiver instanceof Zone && name === "String")
    method = { count: 0, call: () => receiver.name };
  if (method === undefined) {
    throw fault(`${typeName(receiver)} has no method ${name.slice(0, 100)}`);
  }
  if (given.count !== method.count) {
    throw fault(`${name} takes ${method.count} arguments, not ${given.count}`);
  }
  return method.call(given);
}

interface Method {
  readonly count: number;
  readonly call: (given: Arguments) => Value;
}

function plain<Receiver>(read: (receiver: Receiver) => Value): (receiver: Receiver) => Method {
  return (receiver) => ({ count: 0, call: () => read(receiver) });
}

function taking<Receiver>(
  count: number,
  call: (receiver: Receiver, given: Arguments) => Value,
): (receiver: Receiver) => Method {
  return (receiver) => ({ count, call: (given) => call(receiver, given) });
}

function time(given: Arguments): Time {
  const value = given.value(0);
  if (!(value instanceof Time)) throw given.wrong(0, "time.Time");
  return value;
}

function duration(given: Arguments): Duration {
  const value = given.value(0);
  if (!(value instanceof Duration)) throw given.wrong(0, "time.Duration");
  return value;
}

const million = 1_000_000n;
const billion = 1_000_000_000n;

/** Go divides and rounds toward the past here, BigInt toward zero. */
function floorDivide(value: bigint, by: bigint): bigint {
  return value % by < 0n ? value / by - 1n : value / by;
}

function addDate(receiver: Time, given: Arguments): Time {
  const civil = receiver.civil();
  const date = new Date(0);
  date.setUTCFullYear(
    civil.year + given.whole(0),
    civil.month - 1 + given.whole(1),
    civil.day + given.whole(2),
  );
  date.setUTCHours(civil.hour, civil.minute, civil.second);
  const local = date.getTime();
  if (Number.isNaN(local)) throw fault("the time is too far from now");
  return new Time(
    BigInt(receiver.zone.instant(local)) * million + BigInt(civil.nanosecond),
    receiver.zone,
  );
}

const timeMethods: ReadonlyMap<string, (receiver: Time) => Method> = new Map([
  ["Year", plain<Time>((receiver) => BigInt(receiver.civil().year))],
  ["Month", plain((receiver) => BigInt(receiver.civil().month))],
  ["Day", plain((receiver) => BigInt(receiver.civil().day))],
  ["Hour", plain((receiver) => BigInt(receiver.civil().hour))],
  ["Minute", plain((receiver) => BigInt(receiver.civil().minute))],
  ["Second", plain((receiver) => BigInt(receiver.civil().second))],
  ["Nanosecond", plain((receiver) => BigInt(receiver.civil().nanosecond))],
  ["Weekday", plain((receiver) => BigInt(weekday(receiver.civil())))],
  ["YearDay", plain((receiver) => BigInt(yearDay(receiver.civil())))],
  ["Unix", plain((receiver) => floorDivide(receiver.nanoseconds, billion))],
  ["UnixMilli", plain((receiver) => floorDivide(receiver.nanoseconds, million))],
  ["UnixMicro", plain((receiver) => floorDivide(receiver.nanoseconds, 1000n))],
  ["UnixNano", plain((receiver) => receiver.nanoseconds)],
  ["UTC", plain((receiver) => receiver.in(Zone.utc))],
  ["Local", plain((receiver) => receiver.in(Zone.utc))],
  ["Location", plain((receiver) => receiver.zone)],
  ["String", plain((receiver) => receiver.toString())],
  // Go's zero time is the first of January of the year 1.
  ["IsZero", plain((receiver) => receiver.nanoseconds === -62_135_596_800n * billion)],
  ["Format", taking(1, (receiver, given) => receiver.format(given.text(0)))],
  [
    "In",
    taking(1, (receiver, given) => {
      const zone = given.value(0);
      if (!(zone instanceof Zone)) throw given.wrong(0, "time.Location");
      return receiver.in(zone);
    }),
  ],
  ["Add", taking(1, (receiver, given) => receiver.plus(duration(given).nanoseconds))],
  ["AddDate", taking(3, addDate)],
  [
    "Sub",
    taking(1, (receiver, given) => new Duration(receiver.nanoseconds - time(given).nanoseconds)),
  ],
  ["After", taking(1, (receiver, given) => receiver.nanoseconds > time(given).nanoseconds)],
  ["Before", taking(1, (receiver, given) => receiver.nanoseconds < time(given).nanoseconds)],
  ["Equal", taking(1, (receiver, given) => receiver.nanoseconds === time(given).nanoseconds)],
  [
    "Truncate",
    taking(1, (receiver, given) => {
      const step = duration(given).nanoseconds;
      // Go counts from the year 1, which matters for steps that are no divisor of that distance, as a week.
      const since = receiver.nanoseconds + 62_135_596_800n * billion;
      return step <= 0n ? receiver : receiver.plus(-(((since % step) + step) % step));
    }),
  ],
]);

const versionMethods: ReadonlyMap<string, (receiver: Version) => Method> = new Map([
  ["Major", plain<Version>((receiver) => BigInt(receiver.major))],
  ["Minor", plain((receiver) => BigInt(receiver.minor))],
  ["Patch", plain((receiver) => BigInt(receiver.patch))],
  ["Prerelease", plain((receiver) => receiver.prerelease)],
  ["Metadata", plain((receiver) => receiver.metadata)],
  ["Original", plain((receiver) => receiver.original)],
  ["String", plain((receiver) => receiver.toString())],
]);

const durationMethods: ReadonlyMap<string, (receiver: Duration) => Method> = new Map([
  ["Hours", plain<Duration>((receiver) => receiver.seconds / 3600)],
  ["Minutes", plain((receiver) => receiver.seconds / 60)],
  ["Seconds", plain((receiver) => receiver.seconds)],
  ["Milliseconds", plain((receiver) => receiver.nanoseconds / million)],
  ["Microseconds", plain((receiver) => receiver.nanoseconds / 1000n)],
  ["Nanoseconds", plain((receiver) => receiver.nanoseconds)],
  ["String", plain((receiver) => receiver.toString())],
  [
    "Abs",
    plain((receiver) =>
      receiver.nanoseconds < 0n ? new Duration(-receiver.nanoseconds) : receiver,
    ),
  ],
  [
    "Truncate",
    taking(1, (receiver, given) => {
      const step = duration(given).nanoseconds;
      return step <= 0n
        ? receiver
        : new Duration(receiver.nanoseconds - (receiver.nanoseconds % step));
    }),
  ],
  [
    "Round",
    taking(1, (receiver, given) => {
      const step = duration(given).nanoseconds;
      if (step <= 0n) return receiver;
      const minus = receiver.nanoseconds < 0n;
      const size = minus ? -receiver.nanoseconds : receiver.nanoseconds;
      const rounded = ((size + step / 2n + (step % 2n)) / step) * step;
      return new Duration(minus ? -rounded : rounded);
    }),
  ],
]);
