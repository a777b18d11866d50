// Installs servers that others wrote, once, outside of the checkout: `node test/servers/install.ts`. What is there already is left as it is;
// what cannot be installed is told with the reason. The versions are those of go/*/go.mod and of `azurite` below.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export type ServerName =
  | "registry"
  | "referrers"
  | "s3"
  | "gcs"
  | "azure"
  | "etcd"
  | "kube"
  | "helm"
  | "kubectl"
  | "nats";
/** A program to start, or why there is none. */
export type Installed = { readonly program: string } | { readonly missing: string };

/** Its dependencies as they were on that day: it brings hundreds, which no lock file of ours should list. */
const azurite = { version: "3.37.0", before: "2026-11-20" };
/** A build of the largest takes four minutes on two cores. */
const longestMs = 900_000;

function cacheFolder(): string {
  const { ATALANTA_TEST_CACHE, XDG_CACHE_HOME } = process.env;
  return ATALANTA_TEST_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), ".cache"), "atalanta-tests");
}

/** Runs a command beside other work: nicely. Gives the end of what it said when it failed. */
async function run(
  command: string,
  args: readonly string[],
  folder: string,
): Promise<string | undefined> {
  const child = spawn("nice", [command, ...args], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    signal: AbortSignal.timeout(longestMs),
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-2000);
    });
  }
  try {
    const [code] = (await once(child, "close")) as [number | null];
    return code === 0 ? undefined : `${command} ${args[0]}: ${said.trim().split("\n").at(-1)}`;
  } catch (error) {
    return `${command} ${args[0]}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Makes `folder` by `fill`, whole or not at all, also when two do it at once. */
async function whole(
  folder: string,
  fill: (staging: string) => Promise<string | undefined>,
): Promise<string | undefined> {
  if (existsSync(folder)) return undefined;
  mkdirSync(cacheFolder(), { recursive: true });
  const staging = mkdtempSync(join(cacheFolder(), "new-"));
  try {
    const problem = await fill(staging);
    if (problem !== undefined) return problem;
    renameSync(staging, folder);
  } catch (error) {
    if (!existsSync(folder)) return error instanceof Error ? error.message : String(error);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** Builds the module of go/NAME: its own main, or the program that it pins as a tool. */
async function buildGo(name: ServerName): Promise<Installed> {
  const source = join(import.meta.dirname, "go", name);
  const hash = createHash("sha256");
  for (const file of globSync("*", { cwd: source }).toSorted()) {
    hash.update(`${file}\n`).update(readFileSync(join(source, file)));
  }
  const folder = join(cacheFolder(), `${name}-${hash.digest("hex").slice(0, 16)}`);
  const own = existsSync(join(source, "main.go"));
  const missing = await whole(folder, (staging) =>
    run("go", ["build", "-trimpath", "-o", `${staging}/`, own ? "." : "tool"], source),
  );
  if (missing !== undefined) return { missing };
  const [program = ""] = globSync("*", { cwd: folder });
  return { program: join(folder, program) };
}

async function installAzurite(): Promise<Installed> {
  const { version, before } = azurite;
  const folder = join(cacheFolder(), `azurite-${version}`);
  const missing = await whole(folder, async (staging) => {
    writeFileSync(join(staging, "package.json"), `{"private": true}`);
    const options = ["--ignore-scripts", "--no-audit", "--no-fund", "--save-exact"];
    return run("npm", ["install", ...options, `--before=${before}`, `azurite@${version}`], staging);
  });
  if (missing !== undefined) return { missing };
  return { program: join(folder, "node_modules/azurite/dist/src/blob/main.js") };
}

/** Of stores and registries. */
const all: readonly ServerName[] = ["registry", "referrers", "s3", "gcs", "azure"];

/** All of them, or those that are named, one after the other; the first time takes some minutes. */
export async function install(
  say: (line: string) => void,
  names: readonly ServerName[] = all,
): Promise<ReadonlyMap<ServerName, Installed>> {
  const installed = new Map<ServerName, Installed>();
  const add = (name: ServerName, one: Installed): void => {
    installed.set(name, one);
    say("program" in one ? `${name}: ${one.program}` : `!!! NO ${name}: ${one.missing}`);
  };
  for (const name of names) {
    add(name, name === "azure" ? await installAzurite() : await buildGo(name));
  }
  return installed;
}

if (import.meta.main) await install((line) => process.stdout.write(`${line}\n`));
