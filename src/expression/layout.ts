import { fault } from "./failure.ts";

/** A date and time on a clock, with the clock's distance from UTC where it is known. */
export interface Civil {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly nanosecond: number;
  /** Seconds east of UTC. */
  readonly offset: number | undefined;
  readonly zone: string | undefined;
}

export const nanosecondsPerSecond = 1_000_000_000n;

export const months: readonly string[] = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

export const weekdays: readonly string[] = [
  "Sunday",
  "Monday",
  "Tuesday",
  "Wednesday",
  "Thursday",
  "Friday",
  "Saturday",
];

/**
 * The parts of Go's reference time, longest first (https://pkg.go.dev/time#pkg-constants). `Jan` and `Mon` count only when no
 * small letter follows, and a fraction only when no digit does.
 */
const parts =
  /January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|2006|__2|_2(?!006)|002|01|02|03|04|05|06|15|PM|pm|-07:00:00|-07:00|-070000|-0700|-07|Z07:00:00|Z07:00|Z070000|Z0700|Z07|[.,]0+(?!\d)|[.,]9+(?!\d)|1|2|3|4|5/gu;

interface Chunk {
  readonly literal: string;
  /** Undefined behind the last literal. */
  readonly part: string | undefined;
}

const layoutCeiling = 1000;

function chunks(layout: string): readonly Chunk[] {
  if (layout.length > layoutCeiling) {
    throw fault(`the layout has ${layout.length} characters, more than ${layoutCeiling}`);
  }
  const found: Chunk[] = [];
  let at = 0;
  for (const match of layout.matchAll(parts)) {
    const [part] = match;
    found.push({ literal: layout.slice(at, match.index), part });
    at = match.index + part.length;
  }
  found.push({ literal: layout.slice(at), part: undefined });
  return found;
}

/** Formats by a layout of Go's. */
export function formatTime(layout: string, civil: Civil): string {
  return chunks(layout)
    .map(({ literal, part }) => literal + (part === undefined ? "" : formatPart(part, civil)))
    .join("");
}

function pad(value: number, length = 2, filler = "0"): string {
  return String(value).padStart(length, filler);
}

function formatPart(part: string, civil: Civil): string {
  const twelve = civil.hour % 12 === 0 ? 12 : civil.hour % 12;
  switch (part) {
    case "January":
      return months[civil.month - 1] ?? "";
    case "Jan":
      return (months[civil.month - 1] ?? "").slice(0, 3);
    case "Monday":
      return weekdays[weekday(civil)] ?? "";
    case "Mon":
      return (weekdays[weekday(civil)] ?? "").slice(0, 3);
    case "MST":
      return civil.zone ?? "UTC";
    case "2006":
      return civil.year < 0 ? `-${pad(-civil.year, 4)}` : pad(civil.year, 4);
    case "06":
      return pad(((civil.year % 100) + 100) % 100);
    case "01":
      return pad(civil.month);
    case "1":
      return String(civil.month);
    case "02":
      return pad(civil.day);
    case "_2":
      return pad(civil.day, 2, " ");
    case "2":
      return String(civil.day);
    case "__2":
      return pad(yearDay(civil), 3, " ");
    case "002":
      return pad(yearDay(civil), 3);
    case "15":
      return pad(civil.hour);
    case "03":
      return pad(twelve);
    case "3":
      return String(twelve);
    case "04":
      return pad(civil.minute);
    case "4":
      return String(civil.minute);
    case "05":
      return pad(civil.second);
    case "5":
      return String(civil.second);
    case "PM":
      return civil.hour >= 12 ? "PM" : "AM";
    case "pm":
      return civil.hour >= 12 ? "pm" : "am";
    default:
      return /^[.,]/u.test(part) ? formatFraction(part, civil) : formatOffset(part, civil);
  }
}

function formatFraction(part: string, civil: Civil): string {
  const digits = pad(civil.nanosecond, 9).slice(0, part.length - 1);
  if (part.endsWith("0")) return part.charAt(0) + digits.padEnd(part.length - 1, "0");
  const trimmed = digits.replace(/0+$/u, "");
  return trimmed === "" ? "" : part.charAt(0) + trimmed;
}

function formatOffset(part: string, civil: Civil): string {
  const offset = civil.offset ?? 0;
  if (part.startsWith("Z") && offset === 0) return "Z";
  const size = Math.abs(offset);
  const colon = part.includes(":") ? ":" : "";
  const fields = [pad(Math.trunc(size / 3600))];
  const digits = part.replaceAll(/\D/gu, "").length;
  if (digits >= 4) fields.push(pad(Math.trunc(size / 60) % 60));
  if (digits >= 6) fields.push(pad(size % 60));
  return (offset < 0 ? "-" : "+") + fields.join(colon);
}

export function weekday(civil: Civil): number {
  return new Date(midnight(civil)).getUTCDay();
}

export function yearDay(civil: Civil): number {
  return (midnight(civil) - midnight({ ...civil, month: 1, day: 1 })) / 86_400_000 + 1;
}

function midnight(civil: Civil): number {
  const date = new Date(0);
  return date.setUTCFullYear(civil.year, civil.month - 1, civil.day);
}

interface Reading {
  year: number;
  month: number;
  day: number;
  yearDay: number;
  hour: number;
  minute: number;
  second: number;
  nanosecond: number;
  afternoon: boolean | undefined;
  offset: number | undefined;
  zone: string | undefined;
}

/** Reads a text by a layout of Go's; what the layout does not name is that of year 0. */
export function parseTime(layout: string, text: string): Civil {
  const bad = (): Error =>
    fault(
      `cannot read "${text.slice(0, 100)}" as a time of the form "${layout.slice(0, 100)}"`,
      "A layout shows how the time 2006-01-02 15:04:05 is written.",
    );
  const reading: Reading = {
    year: 0,
    month: 1,
    day: 1,
    yearDay: 0,
    hour: 0,
    minute: 0,
    second: 0,
    nanosecond: 0,
    afternoon: undefined,
    offset: undefined,
    zone: undefined,
  };
  let rest = text;
  const all = chunks(layout);
  for (const [index, { literal, part }] of all.entries()) {
    if (!rest.startsWith(literal)) throw bad();
    rest = rest.slice(literal.length);
    if (part === undefined) break;
    const next = all[index + 1];
    const length = parsePart(part, rest, reading, next);
    if (length === undefined) throw bad();
    rest = rest.slice(length);
  }
  if (rest !== "") throw bad();
  return settle(reading, bad);
}

/** How much of the text the part takes; undefined when it does not fit. */
function parsePart(
  part: string,
  text: string,
  reading: Reading,
  next: Chunk | undefined,
): number | undefined {
  const take = (
    pattern: RegExp,
    set: (value: number, found: string) => void,
  ): number | undefined => {
    const found = pattern.exec(text)?.[0];
    if (found === undefined) return undefined;
    set(Number(found), found);
    return found.length;
  };
  switch (part) {
    case "January":
    case "Jan":
      return named(months, part === "Jan", text, (index) => {
        reading.month = index + 1;
      });
    case "Monday":
    case "Mon":
      return named(weekdays, part === "Mon", text, () => undefined);
    case "2006":
      return take(/^\d{4}/u, (value) => {
        reading.year = value;
      });
    case "06":
      return take(/^\d{2}/u, (value) => {
        reading.year = value >= 69 ? 1900 + value : 2000 + value;
      });
    case "01":
    case "1":
      return take(part === "01" ? /^\d{2}/u : /^\d{1,2}/u, (value) => {
        reading.month = value;
      });
    case "02":
    case "2":
    case "_2":
      return take(
        part === "02" ? /^\d{2}/u : part === "2" ? /^\d{1,2}/u : /^ ?\d{1,2}/u,
        (value) => {
          reading.day = value;
        },
      );
    case "002":
    case "__2":
      return take(part === "002" ? /^\d{3}/u : /^ {0,2}\d{1,3}/u, (value) => {
        reading.yearDay = value;
      });
    case "15":
      return take(/^\d{2}/u, (value) => {
        reading.hour = value;
      });
    case "03":
    case "3":
      return take(part === "03" ? /^\d{2}/u : /^\d{1,2}/u, (value) => {
        reading.hour = value > 12 ? 99 : value;
      });
    case "04":
    case "4":
      return take(part === "04" ? /^\d{2}/u : /^\d{1,2}/u, (value) => {
        reading.minute = value;
      });
    case "05":
    case "5": {
      const length = take(part === "05" ? /^\d{2}/u : /^\d{1,2}/u, (value) => {
        reading.second = value;
      });
      // A fraction may follow seconds even where the layout has none.
      if (length === undefined || (next?.part !== undefined && /^[.,]/u.test(next.part)))
        return length;
      const fraction = /^[.,]\d+/u.exec(text.slice(length))?.[0];
      if (fraction === undefined || next?.literal.startsWith(fraction.charAt(0)) === true)
        return length;
      reading.nanosecond = nanosecond(fraction);
      return length + fraction.length;
    }
    case "PM":
    case "pm":
      return take(part === "PM" ? /^[AP]M/u : /^[ap]m/u, (_, found) => {
        reading.afternoon = found.toLowerCase() === "pm";
      });
    case "MST":
      return take(/^(?:[A-Z]{3,5}|[+-]\d{2,4})/u, (_, found) => {
        reading.zone = found;
        if (found === "UTC" || found === "GMT") reading.offset ??= 0;
      });
    default:
      return /^[.,]/u.test(part)
        ? parseFraction(part, text, reading)
        : parseOffset(part, text, reading);
  }
}

function named(
  names: readonly string[],
  short: boolean,
  text: string,
  set: (index: number) => void,
): number | undefined {
  const lower = text.toLowerCase();
  const index = names.findIndex((name) =>
    lower.startsWith((short ? name.slice(0, 3) : name).toLowerCase()),
  );
  const name = names[index];
  if (name === undefined) return undefined;
  set(index);
  return short ? 3 : name.length;
}

function nanosecond(fraction: string): number {
  return Number(fraction.slice(1, 10).padEnd(9, "0"));
}

function parseFraction(part: string, text: string, reading: Reading): number | undefined {
  const exact = part.endsWith("0");
  const found = (exact ? new RegExp(`^[.,]\\d{${part.length - 1}}`, "u") : /^[.,]\d+/u).exec(
    text,
  )?.[0];
  if (found === undefined) return exact ? undefined : 0;
  reading.nanosecond = nanosecond(found);
  return found.length;
}

function parseOffset(part: string, text: string, reading: Reading): number | undefined {
  if (part.startsWith("Z") && text.startsWith("Z")) {
    reading.offset = 0;
    reading.zone = "UTC";
    return 1;
  }
  const digits = part.replaceAll(/\D/gu, "").length;
  const colon = part.includes(":") ? ":" : "";
  const pattern = `^([+-])(\\d{2})${digits >= 4 ? `${colon}(\\d{2})` : "()"}${digits >= 6 ? `${colon}(\\d{2})` : "()"}`;
  const found = new RegExp(pattern, "u").exec(text);
  if (found === null) return undefined;
  const [whole, sign, hours, minutes, seconds] = found;
  const size = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
  if (Number(hours) > 24 || Number(minutes) >= 60) return undefined;
  reading.offset = sign === "-" ? -size : size;
  return whole.length;
}

function settle(reading: Reading, bad: () => Error): Civil {
  let { year, month, day, hour } = reading;
  if (reading.afternoon === true && hour < 12) hour += 12;
  if (reading.afternoon === false && hour === 12) hour = 0;
  if (reading.yearDay > 0) {
    const date = new Date(midnight({ ...emptyCivil, year, month: 1, day: reading.yearDay }));
    if (date.getUTCFullYear() !== year) throw bad();
    month = date.getUTCMonth() + 1;
    day = date.getUTCDate();
  }
  const { minute, second } = reading;
  if (month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59) throw bad();
  const days = new Date(midnight({ ...emptyCivil, year, month: month + 1, day: 0 })).getUTCDate();
  if (day < 1 || day > days) throw bad();
  return {
    year,
    month,
    day,
    hour,
    minute,
    second,
    nanosecond: reading.nanosecond,
    offset: reading.offset,
    zone: reading.zone,
  };
}

const emptyCivil: Civil = {
  year: 0,
  month: 1,
  day: 1,
  hour: 0,
  minute: 0,
  second: 0,
  nanosecond: 0,
  offset: undefined,
  zone: undefined,
};
