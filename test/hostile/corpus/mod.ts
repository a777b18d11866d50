import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Hostile } from "../guest.ts";
import { bombs } from "./bombs.ts";
import { made } from "./made.ts";
import { names } from "./names.ts";
import { paths } from "./paths.ts";
import { requests } from "./requests.ts";

const hello = join(import.meta.dirname, "../../guests/hello/hello.wasm");

/** Every guest of the corpus, in the order in which one process can run them. */
export const corpus: readonly Hostile[] = [...paths, ...names, ...requests, ...bombs, ...made].map(
  (guest) => (guest.name === "hello" ? { ...guest, make: () => readFileSync(hello) } : guest),
);
