#!/usr/bin/env node
// Finds a Node that is new enough (the npm package "node" brings one) and starts the built command line.
import { spawn } from "node:child_process";
import * as modules from "node:module";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

const main = new URL("../dist/cli/main.js", import.meta.url);
if (Number(process.versions.node.split(".")[0]) >= 26) {
  modules.enableCompileCache?.();
  await import(main.href);
} else {
  const node = modules.createRequire(import.meta.url).resolve("node/bin/node");
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
    process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`error: cannot start Node 26 at ${node}: ${error.message}. Run npm ci again.`);
    process.exitCode = 2;
  });
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + (signal ? constants.signals[signal] : 1);
  });
}
