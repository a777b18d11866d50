import { globSync } from "node:fs";
import { basename, join } from "node:path";
import type { Outcome } from "./setting.ts";

const folder = join(import.meta.dirname, "modules");

/** Modules of unusual shapes, by name; their sources lie beside them. */
export const modules: readonly { readonly name: string; readonly path: string }[] = globSync(
  "*.wasm",
  { cwd: folder },
)
  .toSorted()
  .map((file) => ({ name: `module ${basename(file, ".wasm")}`, path: join(folder, file) }));

/** Nothing lies about, and nobody asks. */
export const bare = { arguments: [], environment: [], stdin: "", preopens: [] } as const;

/** What is compared of a module's end: texts of traps and refusals are each runtime's own. */
export function ends({ end, stdout }: Outcome): string[] {
  const how = end.replace(/^(trap|refused): .*/s, "$1").replace(/^failed: module-.*/, "refused");
  return [JSON.stringify(Buffer.from(stdout, "hex").toString()), how];
}
