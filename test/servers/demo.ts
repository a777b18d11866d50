// `npm run demo:registry`: letterflow with its modules from a registry that this starts: CNCF distribution, where it can be built, otherwise our stand-in.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { install } from "./install.ts";
import { letterflowFrom } from "./letterflow.ts";
import { StandInRegistry } from "./registry.ts";
import { start } from "./start.ts";

const root = resolve(import.meta.dirname, "../..");
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const folder = mkdtempSync(join(tmpdir(), "letterflow-"));

/** Runs the command line with a home of its own, so that its images are not there yet. */
async function atalanta(args: readonly string[]): Promise<number> {
  say(`\n$ atalanta ${args.map((arg) => arg.replace(`${root}/`, "")).join(" ")}`);
  const command = [join(root, "bin/atalanta.js"), ...args];
  const { XDG_CACHE_HOME: _cache, ATALANTA_HOME: _home, ...environment } = process.env;
  const child = spawn(process.execPath, command, {
    cwd: root,
    env: { ...environment, HOME: folder },
    stdio: "inherit",
  });
  const [code] = (await once(child, "exit")) as [number | null];
  return code ?? 1;
}

try {
  say("The first time, the registry is built; that takes a minute.");
  const installed = await install(say, ["registry"]);
  await using servers = await start(installed);
  await using standIn = servers.given.registry ? undefined : await StandInRegistry.start();
  const host = servers.given.registry?.host ?? standIn?.host ?? "";
  const run = await letterflowFrom(host, folder);
  say(`Its modules are at ${host}, as atalanta-examples/…`);
  process.exitCode =
    (await atalanta([...run, "--output-dir", "out"])) || (await atalanta(["image", "ls"]));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
