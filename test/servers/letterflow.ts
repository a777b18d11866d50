// Letterflow as its users would run it: its modules lie in a registry, and nothing but the operator's configuration says where that is.
import { copyFileSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { openRegistry } from "../../src/oci/mod.ts";
import { pushModule } from "./artifact.ts";

const example = resolve(import.meta.dirname, "../../examples/letterflow");

/** Pushes the modules, and lays the workflow and a configuration into a folder that have no module file; gives the arguments of `run`. */
export async function letterflowFrom(host: string, folder: string): Promise<readonly string[]> {
  const guests = join(example, "guests");
  await using registry = openRegistry({ loopback: true });
  for (const file of globSync("*.wasm", { cwd: guests })) {
    const name = `atalanta-examples/${basename(file, ".wasm")}:1`;
    await pushModule(registry, `${host}/${name}`, readFileSync(join(guests, file)));
  }
  const workflow = join(folder, "workflow.yaml");
  copyFileSync(join(example, "workflow.yaml"), workflow);
  const configuration = join(folder, "operator.yaml");
  writeFileSync(configuration, `registries:\n  ghcr.io:\n    mirrors: ["http://${host}"]\n`);
  const letter = `doc=${join(example, "letter.tiff")}`;
  return ["run", workflow, "-a", letter, "--config", configuration];
}
