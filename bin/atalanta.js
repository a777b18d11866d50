#!/usr/bin/env node
// Finds a Node that is new enough (the npm package "node" brings one) and starts the built command line.
import { spawn } from "node:child_process";
import * as modules from "node:module";
import { constants, homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const main = new URL("../dist/bundle/main.js", import.meta.url);
if (Number(process.versions.node.split(".")[0]) >= 26) {
  // In the user's own cache: another user could have made the folder that Node takes by itself below /tmp.
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  modules.enableCompileCache?.(join(cache, "atalanta", "compile"));
  try {
    await import(main.href);
  } catch (error) {
    if (error?.code !== "ERR_MODULE_NOT_FOUND" || error.url !== main.href) throw error;
    stop(`Atalanta is not built: there is no ${fileURLToPath(main)}`, "npm run build");
  }
} else {
  const node = newerNode();
  if (node !== undefined) start(node);
}

function newerNode() {
  try {
    return modules.createRequire(import.meta.url).resolve("node/bin/node");
  } catch {
    stop(`Node 26 is needed and this is ${process.version}; npm brings a newer one`, "npm ci");
    return undefined;
  }
}

function start(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
    process.on(signal, () => child.kill(signal));
  child.on("error", (error) => stop(`Cannot start Node 26 at ${node}: ${error.message}`, "npm ci"));
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + (signal ? constants.signals[signal] : 1);
  });
}

function stop(message, command) {
  console.error(`error: ${message}\n  hint: Run in the project's folder: ${command}`);
  process.exitCode = 2;
}
