// `npm run bench -- NAME [--json]` runs one of the measurements of this folder; without a name it lists them.
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

const names = globSync("*.ts", { cwd: import.meta.dirname })
  .map((file) => file.replace(/\.ts$/, ""))
  .filter((name) => name !== "main")
  .toSorted();
const [, , name = ""] = process.argv;

if (names.includes(name)) await import(`./${name}.ts`);
else {
  process.stdout.write("npm run bench -- NAME [--json]\n");
  for (const item of names) {
    const [first = ""] = readFileSync(join(import.meta.dirname, `${item}.ts`), "utf8").split("\n");
    process.stdout.write(`  ${item.padEnd(10)} ${first.replace(/^\/\/ /, "")}\n`);
  }
  process.exitCode = name === "" ? 0 : 2;
}
