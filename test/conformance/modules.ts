import { globSync } from "node:fs";
import { basename, join } from "node:path";
import type { Outcome } from "./setting.ts";

interface Named {
  readonly name: string;
  readonly path: string;
}

function builtIn(folder: string, kind: string): Named[] {
  const place = join(import.meta.dirname, folder);
  return globSync("*.wasm", { cwd: place })
    .toSorted()
    .map((file) => ({ name: `${kind} ${basename(file, ".wasm")}`, path: join(place, file) }));
}

/** Modules of unusual shapes; their sources lie beside them. */
export const modules: readonly Named[] = builtIn("modules", "module");

/** Programs in C and Rust that say line by line what their standard libraries made of a sandbox. */
export const programs: readonly Named[] = builtIn("programs", "program");

/** Nothing lies about, and nobody asks. */
export const bare = { arguments: [], environment: [], stdin: "", preopens: [] } as const;

/** What is compared of a module's end: texts of traps and refusals are each runtime's own. */
export function ends({ end, stdout }: Outcome): string[] {
  const how = end.replace(/^(trap|refused): .*/s, "$1").replace(/^failed: module-.*/, "refused");
  return [JSON.stringify(Buffer.from(stdout, "hex").toString()), how];
}

export function lines({ stdout, told, end }: Outcome): string[] {
  return [...Buffer.from(stdout, "hex").toString().split("\n"), told, end];
}
