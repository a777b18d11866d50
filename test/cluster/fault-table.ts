// A reporter of node:test: at the end a table of what was done to the agent, and what was lost or done twice.
import type { TestEvent } from "node:test/reporters";

interface Row {
  readonly fault: string;
  readonly seconds: string;
  outcome: string;
}

const widest = 118;

export default async function* table(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const rows: Row[] = [];
  for await (const event of source) {
    if (event.type === "test:diagnostic" && /^(?:steps|calls) /.test(event.data.message)) {
      const last = rows.at(-1);
      if (last) last.outcome += `, ${event.data.message}`;
    }
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const { name, details, skip } = event.data;
    if (details.type === "suite" || name.endsWith(".ts")) continue;
    const passed = event.type === "test:pass";
    rows.push({
      fault: name.length > widest ? `${name.slice(0, widest - 1)}…` : name,
      seconds: (details.duration_ms / 1000).toFixed(1),
      outcome: skip ? "SKIPPED" : passed ? "survived" : "FAILED",
    });
  }
  const width = Math.max(5, ...rows.map(({ fault }) => fault.length));
  yield `\n${"fault".padEnd(width)}  ${"s".padStart(5)}  outcome\n`;
  for (const { fault, seconds, outcome } of rows)
    yield `${fault.padEnd(width)}  ${seconds.padStart(5)}  ${outcome}\n`;
  const failed = rows.filter(({ outcome }) => outcome.startsWith("FAILED")).length;
  yield `${rows.length} faults, ${failed} not survived\n`;
}
