import { months, weekdays } from "../../expression/mod.ts";
/** RFC 3339 in UTC without fractions, as Argo writes times. */
export function rfc3339(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19)}Z`;
}

/** Go's `%f` of a duration in seconds. */
export function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(6);
}

/** A duration as people say it: `10 seconds`, `1 minute 30 seconds`. */
export function duration(milliseconds: number): string {
  const whole = Math.round(milliseconds / 1000);
  if (whole === 0) return `${Math.round(milliseconds)} milliseconds`;
  const parts = [
    [Math.floor(whole / 86_400), "day"],
    [Math.floor(whole / 3600) % 24, "hour"],
    [Math.floor(whole / 60) % 60, "minute"],
    [whole % 60, "second"],
  ] as const;
  const first = parts.findIndex(([amount]) => amount > 0);
  return parts
    .slice(first, first + 2)
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount} ${unit}${amount === 1 ? "" : "s"}`)
    .join(" ");
}

/** One format character of strftime, those that Argo knows, in UTC. */
export function strftime(character: string, at: number): string | undefined {
  const time = new Date(at);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = weekdays[time.getUTCDay()] ?? "";
  const month = months[time.getUTCMonth()] ?? "";
  const hour = time.getUTCHours();
  switch (character) {
    case "A":
      return day;
    case "a":
      return day.slice(0, 3);
    case "B":
      return month;
    case "b":
      return month.slice(0, 3);
    case "m":
      return two(time.getUTCMonth() + 1);
    case "d":
      return two(time.getUTCDate());
    case "H":
      return two(hour);
    case "I":
      return two(hour % 12 || 12);
    case "M":
      return two(time.getUTCMinutes());
    case "S":
      return two(time.getUTCSeconds());
    case "L":
      return `.${String(time.getUTCMilliseconds()).padStart(3, "0")}`;
    case "Y":
      return String(time.getUTCFullYear());
    case "y":
      return two(time.getUTCFullYear() % 100);
    case "p":
      return hour < 12 ? "AM" : "PM";
    case "Z":
      return "UTC";
    case "z":
      return "+0000";
    default:
      return undefined;
  }
}

/** Widest field that a format may ask for. */
const widest = 1000;

/** Go's `Sprintf(format, number)`, as far as a whole number fits its verbs. */
export function sprintf(format: string, number: number): string {
  let used = false;
  const text = format.replaceAll(
    /%([-+# 0]*)(\d*)(?:\.(\d*))?(.)/gsu,
    (_, flags: string, width: string, precision: string | undefined, verb: string) => {
      if (verb === "%") return "%";
      if (used) return `%!${verb}(BADINDEX)`;
      used = true;
      const digits = verbs[verb]?.(Math.abs(number), flags);
      if (digits === undefined) return `%!${verb}(int=${number})`;
      const sign = number < 0 ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
      const least = Math.min(widest, Number(precision ?? 0));
      const body = digits.padStart(least, "0");
      const wide = Math.min(widest, Number(width));
      if (flags.includes("-")) return `${sign}${body}`.padEnd(wide);
      return flags.includes("0") && precision === undefined
        ? sign + body.padStart(wide - sign.length, "0")
        : `${sign}${body}`.padStart(wide);
    },
  );
  return used ? text : `${text}%!(EXTRA int=${number})`;
}

const verbs: Readonly<Record<string, (value: number, flags: string) => string>> = {
  d: (value) => String(value),
  v: (value) => String(value),
  x: (value, flags) => (flags.includes("#") ? "0x" : "") + value.toString(16),
  X: (value, flags) => (flags.includes("#") ? "0X" : "") + value.toString(16).toUpperCase(),
  o: (value, flags) => (flags.includes("#") ? "0" : "") + value.toString(8),
  O: (value) => `0o${value.toString(8)}`,
  b: (value, flags) => (flags.includes("#") ? "0b" : "") + value.toString(2),
  c: (value) => (value <= 0x10_ff_ff ? String.fromCodePoint(value) : "\u{FFFD}"),
  U: (value) => `U+${value.toString(16).toUpperCase().padStart(4, "0")}`,
};
