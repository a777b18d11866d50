import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { interrupted } from "./interrupt.ts";
import { positive } from "./options.ts";
import { ask, serverOptions, type ServerOptions } from "./served.ts";

interface Options extends ServerOptions {
  readonly interval: number;
  readonly once?: boolean;
  readonly json?: boolean;
}

/** `atalanta top` */
export function addTop(program: Command): void {
  serverOptions(program.command("top"))
    .description("Show which functions of a server run and wait, and how fast")
    .option("--interval <seconds>", "between two looks", positive("--interval"), 2)
    .option("--once", "one look")
    .option("--json", "each look as one line of JSON")
    .addHelpText("after", "\nExamples:\n  atalanta top\n  atalanta top --once --json")
    .action(top);
}

interface Row {
  readonly target: string;
  running: number;
  waiting: number;
  calls: number;
  failed: number;
  cold: number;
  retries: number;
  runSeconds: number;
  queueSeconds: number;
}

async function top(options: Options): Promise<void> {
  let before: ReadonlyMap<string, Row> = new Map();
  let at = performance.now();
  const live = process.stdout.isTTY && !options.json && !options.once;
  for (let first = true; ; first = false) {
    const text = await (await ask(options, "/metrics", { signal: interrupted })).text();
    const now = read(text);
    const seconds = first ? undefined : (performance.now() - at) / 1000;
    at = performance.now();
    const rows = [...now.values()].map((row) => shown(row, before.get(row.target), seconds));
    if (options.json)
      process.stdout.write(
        `${JSON.stringify({ time: new Date().toISOString(), targets: rows })}\n`,
      );
    else print(rows, live);
    if (options.once) return;
    before = now;
    try {
      await sleep(options.interval * 1000, undefined, { signal: interrupted });
    } catch {
      return;
    }
  }
}

/** Sums of what Prometheus would read, by target. */
function read(text: string): ReadonlyMap<string, Row> {
  const rows = new Map<string, Row>();
  for (const line of text.split("\n")) {
    const found = /^atalanta_function_(\w+)\{([^}]*)\} ([\d.e+-]+)/.exec(line);
    const [, name = "", labels = "", number = ""] = found ?? [];
    const target = /target="([^"]*)"/.exec(labels)?.[1];
    if (target === undefined) continue;
    const row = rows.get(target) ?? {
      target,
      running: 0,
      waiting: 0,
      calls: 0,
      failed: 0,
      cold: 0,
      retries: 0,
      runSeconds: 0,
      queueSeconds: 0,
    };
    rows.set(target, row);
    const value = Number(number);
    if (name === "running") row.running += value;
    else if (name === "waiting") row.waiting += value;
    else if (name === "attempts_total") {
      row.calls += value;
      if (!labels.includes('end="returned"')) row.failed += value;
    } else if (name === "cold_starts_total") row.cold += value;
    else if (name === "retries_total") row.retries += value;
    else if (name === "run_seconds_sum") row.runSeconds += value;
    else if (name === "queue_seconds_sum") row.queueSeconds += value;
  }
  return rows;
}

function shown(
  row: Row,
  before: Row | undefined,
  seconds: number | undefined,
): Readonly<Record<string, string | number>> {
  const calls = row.calls - (before?.calls ?? 0);
  const each = (now: number, then: number): number =>
    calls === 0 ? 0 : Math.round(((now - then) / calls) * 1e6) / 1000;
  return {
    target: row.target,
    running: row.running,
    waiting: row.waiting,
    perSecond: seconds === undefined ? 0 : Math.round((calls / seconds) * 10) / 10,
    calls: row.calls,
    failed: row.failed,
    cold: row.cold,
    retries: row.retries,
    queueMs: each(row.queueSeconds, before?.queueSeconds ?? 0),
    runMs: each(row.runSeconds, before?.runSeconds ?? 0),
  };
}

function print(rows: readonly Readonly<Record<string, string | number>>[], live: boolean): void {
  const names = [
    "target",
    "running",
    "waiting",
    "perSecond",
    "calls",
    "failed",
    "cold",
    "retries",
    "queueMs",
    "runMs",
  ];
  const table = [
    names.map((name) => name.toUpperCase()),
    ...rows.map((row) => names.map((name) => String(row[name] ?? ""))),
  ];
  const widths = names.map((_, at) => Math.max(...table.map((row) => row[at]?.length ?? 0)));
  const text = table
    .map((row) =>
      row
        .map((cell, at) =>
          at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0),
        )
        .join("  "),
    )
    .join("\n");
  process.stdout.write(`${live ? "\u001b[H\u001b[2J" : ""}${text}\n`);
}
