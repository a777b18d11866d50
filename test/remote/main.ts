// `npm run test:remote [-- faults | FILES]`: builds nats-server when it is not there (a quarter of a minute, once), and runs the tests that need it. `-- --serve` starts one
// and says how to use it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { join } from "node:path";
import { natsProgram, NatsServer } from "./nats.ts";

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const asked = process.argv.slice(2);
const program = await natsProgram(say);
if ("missing" in program) {
  say(`!!! NOTHING WAS TESTED: nats-server could not be built: ${program.missing}`);
  process.exit(1);
}
if (asked[0] === "--serve") {
  await using server = await NatsServer.start();
  say(server.url);
  await Promise.race(["SIGINT", "SIGTERM"].map((name) => once(process, name)));
} else {
  const faults = asked[0] === "faults";
  const all = globSync("*.test.ts", { cwd: import.meta.dirname });
  const files = faults
    ? all.filter((file) => file.includes("faults"))
    : asked.length > 0
      ? asked
      : all;
  const child = spawn(
    process.execPath,
    [
      "--no-warnings",
      "--test",
      "--test-concurrency=1",
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      ...(faults
        ? [
            `--test-reporter=${join(import.meta.dirname, "../cluster/fault-table.ts")}`,
            "--test-reporter-destination=stdout",
          ]
        : []),
      ...files.map((file) => join(import.meta.dirname, file)),
    ],
    { stdio: "inherit", env: { ...process.env, ATALANTA_REMOTE_TESTS: "1" } },
  );
  const [code] = (await once(child, "exit")) as [number | null];
  process.exitCode = code ?? 1;
}
