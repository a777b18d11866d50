import assert from "node:assert/strict";
import { readFileSync, globSync } from "node:fs";
import { dirname, relative, resolve, sep } from "node:path";
import { describe, test } from "node:test";

/** Each part with the parts it may import. A part not listed here does not exist yet. */
const parts: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  limits: ["errors"],
  network: ["errors", "limits"],
  wasi: ["errors", "limits"],
  oci: ["errors", "limits", "network", "wasi", "locks", "archives"],
  stores: ["errors", "limits", "network", "wasi"],
  engine: ["errors", "limits", "wasi"],
  runner: ["errors", "limits", "wasi", "engine"],
  archives: ["errors", "wasi"],
  places: ["errors", "network", "stores"],
  artifacts: ["errors", "limits", "wasi", "archives"],
  task: [
    "errors",
    "limits",
    "network",
    "oci",
    "engine",
    "runner",
    "archives",
    "artifacts",
    "stores",
    "places",
  ],
  functions: ["errors", "limits", "network", "oci", "engine", "runner", "task"],
  client: [],
  local: ["errors", "limits", "oci", "runner", "functions", "dispatch", "server"],
  server: ["errors", "limits", "functions", "document", "dispatch", "workflow"],
  container: ["errors", "limits", "wasi", "task"],
  dispatch: ["errors", "limits", "task", "functions"],
  broker: ["errors", "engine", "task", "functions", "dispatch"],
  locks: ["errors"],
  expression: ["errors"],
  document: ["errors", "limits", "network", "places", "expression"],
  workflow: ["errors", "limits", "locks", "expression", "document", "places", "task", "dispatch"],
  kubernetes: ["errors", "network"],
  telemetry: ["errors"],
  argo: [
    "telemetry",
    "errors",
    "kubernetes",
    "limits",
    "network",
    "oci",
    "runner",
    "artifacts",
    "stores",
    "places",
    "expression",
    "document",
    "task",
  ],
  cli: [
    "errors",
    "limits",
    "engine",
    "runner",
    "artifacts",
    "network",
    "oci",
    "stores",
    "places",
    "expression",
    "document",
    "task",
    "container",
    "dispatch",
    "workflow",
    "kubernetes",
    "telemetry",
    "argo",
    "functions",
    "local",
    "broker",
    "server",
    "client",
  ],
};

const source = resolve(import.meta.dirname, "../src");

function part(file: string): string {
  return relative(source, file).split(sep)[0] ?? "";
}

function imports(file: string): string[] {
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map(([, to = ""]) =>
    resolve(dirname(file), to),
  );
}

describe("source structure", () => {
  for (const file of globSync("**/*.ts", { cwd: source }).map((name) => resolve(source, name))) {
    const name = relative(source, file);
    test(name, () => {
      const allowed = parts[part(file)];
      assert(allowed, `${part(file)} is not a known part`);
      for (const to of imports(file)) {
        if (!to.startsWith(source + sep) || part(to) === part(file)) continue;
        assert(allowed.includes(part(to)), `${name} may not import from ${part(to)}`);
        assert(
          to.endsWith(`${sep}mod.ts`),
          `${name} must import ${part(to)} through its mod.ts, not ${relative(source, to)}`,
        );
      }
    });
  }
});
