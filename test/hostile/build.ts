import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { compile } from "watr";
import { createEngine } from "../../src/engine/mod.ts";
import { corpus } from "./corpus/mod.ts";
import { answersOf, runGuest } from "./guest.ts";

/**
 * Builds the guests beside their sources, byte for byte: `node test/hostile/build.ts [NAME...]`, or with `--check` to compare with what is
 * committed; `--answers` writes what those print that have a file for it (`NAME.txt`), so that a change can be read before it is committed. What is written in C needs Debian 12's clang and lld (14); what is written as text is turned into binary by the package `watr`.
 */
export const folder: string = join(import.meta.dirname, "guests");

export function built(source: string): Uint8Array {
  const path = join(folder, source);
  if (source.endsWith(".wat")) return compile(readFileSync(path, "utf8"));
  const to = mkdtempSync(join(tmpdir(), "atalanta-test-"));
  try {
    const out = join(to, "out.wasm");
    const target = ["--target=wasm32", "-nostdlib", "-ffreestanding", "-fno-builtin", "-mbulk-memory"];
    const linked = ["-Wl,--export=_start", "-Wl,--no-entry", "-Wl,-z,stack-size=16384", "-Wl,--strip-all"];
    execFileSync("clang", [...target, "-O1", "-Wall", "-Werror", "-Wno-unused-function", ...linked, "-o", out, path], { stdio: "inherit" });
    return readFileSync(out);
  } finally {
    rmSync(to, { recursive: true, force: true });
  }
} // prettier-ignore

async function main(args: readonly string[]): Promise<void> {
  const names = args.filter((name) => !name.startsWith("--"));
  if (args.includes("--answers")) return answers(names);
  for (const source of globSync("*.{wat,c}", { cwd: folder }).toSorted()) {
    const name = basename(source).replace(/\.\w+$/, "");
    if (names.length > 0 && !names.includes(name)) continue;
    const path = join(folder, `${name}.wasm`);
    const bytes = built(source);
    if (!args.includes("--check")) writeFileSync(path, bytes);
    else if (!Buffer.from(bytes).equals(readFileSync(path))) {
      process.exitCode = 1;
      console.error(`${source} gives other bytes than ${path}`);
    }
  }
}

async function answers(names: readonly string[]): Promise<void> {
  await using engine = createEngine({ threads: 1 });
  for (const guest of corpus) {
    const { name, prints, long } = guest;
    if (prints !== undefined || long || (names.length > 0 && !names.includes(name))) continue;
    if (!existsSync(answersOf(name)) && !names.includes(name)) continue;
    writeFileSync(answersOf(name), (await runGuest(engine, guest)).stdout);
  }
}

if (import.meta.main) await main(process.argv.slice(2));
