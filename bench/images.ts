// Modules from a registry: a cold pull of 300 KB to the first output beside the bare requests, 1,000 steps at once, an image in the cache beside a file: `npm run bench -- images [--json]`.
// The registry is CNCF distribution, which `npm run test:stores` installs; without it the stand-in of the tests, with a word of warning.
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request, type IncomingMessage } from "node:http";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { buffer } from "node:stream/consumers";
import { createEngine } from "../src/engine/mod.ts";
import { defaultLimits } from "../src/limits/mod.ts";
import { openImages, openRegistry, type Images } from "../src/oci/mod.ts";
import { pushModule } from "../test/servers/artifact.ts";
import { FaultyFront } from "../test/servers/faulty.ts";
import { install } from "../test/servers/install.ts";
import { StandInRegistry } from "../test/servers/registry.ts";
import { start } from "../test/servers/start.ts";
import { greeting, helloFile } from "./hello.ts";

const rounds = 31;
const moduleBytes = 300_000;
const root = resolve(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "bench-"));
const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** The guest that greets, with a section behind it that no engine can skip reading. */
function module(): Buffer {
  const hello = readFileSync(helloFile);
  const content = Buffer.concat([
    Buffer.from([1, 0x78]),
    randomBytes(moduleBytes - hello.length - 6),
  ]);
  const size = [0x80 | (content.length & 127), 0x80 | ((content.length >> 7) & 127)];
  return Buffer.concat([hello, Buffer.from([0, ...size, content.length >> 14]), content]);
}

/** A further reference with another module, so that nothing of it is known anywhere. */
async function pushed(host: string, name: string): Promise<string> {
  await using registry = openRegistry({ loopback: true });
  const bytes = module();
  return `${host}/bench/${name}@${await pushModule(registry, `${host}/bench/${name}:1`, bytes)}`;
}

function opened(): Promise<Images> {
  return openImages({
    folder: mkdtempSync(join(folder, "images-")),
    registry: () => openRegistry({ loopback: true }),
    limits: defaultLimits,
  });
}

/** The requests that a pull makes, one after the other on one connection, with nothing done to what comes. */
async function bare(host: string, name: string, made: readonly (readonly [string, string])[]) {
  const agent = new Agent({ keepAlive: true });
  const begin = performance.now();
  for (const [method, url] of made) {
    const path = url.replace(/^\/v2\/bench\/[^/]+/, `/v2/bench/${name}`);
    const accept = "application/vnd.oci.image.manifest.v1+json";
    const sent = request(`http://${host}${path}`, { agent, method, headers: { accept } }).end();
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as Node documents it
    const [answer] = (await once(sent, "response")) as [IncomingMessage];
    await buffer(answer);
    if (answer.statusCode !== 200) throw new Error(`${method} ${path}: ${answer.statusCode}`);
  }
  const tookMs = performance.now() - begin;
  agent.destroy();
  return tookMs;
}

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return Math.round((sorted[Math.floor((sorted.length - 1) * part)] ?? 0) * 100) / 100;
}

function both(values: readonly number[]): { readonly p50Ms: number; readonly p90Ms: number } {
  return { p50Ms: quantile(values, 0.5), p90Ms: quantile(values, 0.9) };
}

/** What a client asks for when it pulls one image. */
async function requestsOf(host: string): Promise<readonly (readonly [string, string])[]> {
  await using front = await FaultyFront.start({ target: `http://${host}` });
  await pushed(host, "seen");
  await using images = await opened();
  const image = await images.get(`${front.host}/bench/seen:1`);
  image[Symbol.dispose]();
  return front.passed.map(({ method, url }) => [method, url]);
}

async function coldPulls(host: string) {
  const made = await requestsOf(host);
  await using engine = createEngine({ threads: 1 });
  await engine.run(await engine.load({ path: helloFile }), greeting);
  const pulls: number[] = [];
  const plain: number[] = [];
  for (let round = -3; round < rounds; round += 1) {
    const [one, other] = [`pull${round + 3}`, `bare${round + 3}`];
    const digest = (await pushed(host, one)).split("@")[1] ?? "";
    const bareDigest = (await pushed(host, other)).split("@")[1] ?? "";
    await using images = await opened();
    const begin = performance.now();
    using image = await images.get(`${host}/bench/${one}:1`);
    const loaded = await engine.load({ path: image.module.path });
    const result = await engine.run(loaded, greeting);
    const tookMs = performance.now() - begin;
    if (result.stdout.length === 0 || image.digest !== digest) throw new Error("no output");
    const config = await (
      await fetch(`http://${host}/v2/bench/${other}/manifests/${bareDigest}`, {
        headers: { accept: "application/vnd.oci.image.manifest.v1+json" },
      })
    ).text();
    const blob = /"layers":.*"digest":"([^"]*)"/.exec(config)?.[1] ?? "";
    const asked = made.map(([method, url]): readonly [string, string] => [
      method,
      url
        .replace(/blobs\/.*/, `blobs/${blob}`)
        .replace(/manifests\/sha256:.*/, `manifests/${bareDigest}`),
    ]);
    const bareMs = await bare(host, other, asked);
    if (round < 0) continue;
    pulls.push(tookMs);
    plain.push(bareMs);
  }
  return {
    requests: made.map(([method, url]) => `${method} ${url.replace(/[0-9a-f]{60}$/, "…")}`),
    toFirstOutput: both(pulls),
    bareRequests: both(plain),
    overMs: Math.round((quantile(pulls, 0.5) - quantile(plain, 0.5)) * 100) / 100,
  };
}

/** A whole process that runs a workflow of so many steps at once, all with one image that is not here. */
async function atOnce(host: string, steps: number) {
  await pushed(host, "many");
  await using front = await FaultyFront.start({ target: `http://${host}` });
  const items = Array.from({ length: steps }, (_, at) => at).join(",");
  const path = join(folder, "many.yaml");
  writeFileSync(
    path,
    `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: many-}
spec:
  entrypoint: main
  templates:
    - name: hello
      wasm: {image: "${front.host}/bench/many:1"}
    - name: main
      steps:
        - [{name: all, template: hello, withItems: [${items}]}]
`,
  );
  const begin = performance.now();
  const child = spawn(
    process.execPath,
    ["--no-warnings", join(root, "src/cli/main.ts"), "run", path, "--quiet"],
    {
      env: { PATH: process.env["PATH"], HOME: mkdtempSync(join(folder, "home-")) },
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as Node documents it
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`the workflow ended with ${code}`);
  const blobs = front.passed.filter(({ url }) => url.includes("/blobs/"));
  return {
    steps,
    pulls: blobs.length,
    requests: front.passed.length,
    tookMs: Math.round(performance.now() - begin),
  };
}

/** An image by its digest, and the same module as a file: inside one process, and as whole processes in turns. */
async function warm(host: string) {
  const reference = await pushed(host, "warm");
  const home = mkdtempSync(join(folder, "home-"));
  const environment = { PATH: process.env["PATH"], HOME: home };
  const command = (args: readonly string[]): number => {
    const begin = performance.now();
    const { status, stderr } = spawnSync(
      process.execPath,
      ["--no-warnings", join(root, "dist/bundle/main.js"), ...args],
      { encoding: "utf8", env: environment },
    );
    if (status !== 0) throw new Error(`${args.join(" ")}: ${stderr}`);
    return performance.now() - begin;
  };
  command(["exec", reference]);
  await using images = await openImages({
    folder: join(home, ".local/share/atalanta/images"),
    registry: () => openRegistry({ loopback: true }),
    limits: defaultLimits,
  });
  const gets: number[] = [];
  let path = "";
  for (let round = 0; round < 1000; round += 1) {
    const begin = performance.now();
    using image = await images.get(reference, { pullPolicy: "Never" });
    gets.push(performance.now() - begin);
    path = image.module.path;
  }
  const file = join(folder, "same.wasm");
  writeFileSync(file, readFileSync(path));
  const byImage: number[] = [];
  const byFile: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    byImage.push(command(["exec", reference]));
    byFile.push(command(["exec", file]));
  }
  return {
    inProcess: both(gets),
    wholeProcess: { byImage: both(byImage), byFile: both(byFile) },
    overMs: Math.round((quantile(byImage, 0.5) - quantile(byFile, 0.5)) * 100) / 100,
  };
}

try {
  const servers = await start(await install(say, ["registry"]));
  await using stack = new AsyncDisposableStack();
  stack.use(servers);
  const standIn = servers.given.registry ? undefined : stack.use(await StandInRegistry.start());
  if (standIn) say("\n!!! FROM OUR STAND-IN: these figures say nothing of a real registry\n");
  const host = servers.given.registry?.host ?? standIn?.host ?? "";
  const report = {
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`,
    registry: standIn ? "stand-in" : "distribution",
    coldPull: await coldPulls(host),
    atOnce: await atOnce(host, 1000),
    warmStart: await warm(host),
  };
  process.stdout.write(
    `${JSON.stringify(report, null, process.argv.includes("--json") ? 0 : 2)}\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
