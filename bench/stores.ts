// One large artifact in and out through S3 and a guest that copies it, beside plain clients of the same server in the same run: `npm run bench -- stores [--json] [--gib 10]`.
// The server is versitygw, which `npm run test:stores` installs; without it the stand-in of the tests, with a word of warning. Needs five times the size on disk.
import { spawn, spawnSync } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  createReadStream,
  createWriteStream,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { addressRules, loopbackAddresses } from "../src/network/mod.ts";
import { openStores, type S3Location, type Stores } from "../src/stores/mod.ts";
import type { GivenS3 } from "../test/servers/given.ts";
import { install } from "../test/servers/install.ts";
import { askS3 } from "../test/servers/s3-client.ts";
import { startS3 } from "../test/servers/s3.ts";
import { start } from "../test/servers/start.ts";

const root = resolve(import.meta.dirname, "..");
const argument = process.argv.indexOf("--gib");
const gib = argument > 0 ? Number(process.argv[argument + 1]) : 1;
/** In turns; the medians count. */
const rounds = gib > 1 ? 1 : 3;
const bytes = gib * 1024 ** 3;
const folder = mkdtempSync(join(tmpdir(), "bench-"));
const say = (line: string): void => void process.stderr.write(`${line}\n`);

function perSecond(tookMs: number): number {
  return Math.round(bytes / 1024 ** 2 / (tookMs / 1000));
}

/** Throughput in MiB/s. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return perSecond(performance.now() - begin);
}

async function plainPut(s3: GivenS3, key: string, file: string): Promise<void> {
  const headers = { "content-length": String(statSync(file).size) };
  const body = createReadStream(file, { highWaterMark: 1024 ** 2 });
  const answer = await askS3(s3, { method: "PUT", key, headers, body });
  if (answer.resume().statusCode !== 200) throw new Error(`PUT: ${answer.statusCode}`);
}

async function plainGet(s3: GivenS3, key: string, file: string): Promise<void> {
  await pipeline(await askS3(s3, { method: "GET", key }), createWriteStream(file));
}

/** Another program's speed; undefined where it is not. */
function other(command: string, args: readonly string[]): number | undefined {
  const begin = performance.now();
  const { status, error, stderr } = spawnSync(command, args, {
    encoding: "utf8",
    env: {
      PATH: process.env["PATH"],
      HOME: folder,
      AWS_ACCESS_KEY_ID: s3.accessKey,
      AWS_SECRET_ACCESS_KEY: s3.secretKey,
      AWS_DEFAULT_REGION: s3.region,
    },
  });
  if (error) return undefined;
  if (status !== 0) throw new Error(`${command}: ${status} ${stderr}`);
  return perSecond(performance.now() - begin);
}

/** One stream; it signs by itself. */
function curl(key: string, way: readonly string[]): number | undefined {
  const signed = ["--aws-sigv4", `aws:amz:${s3.region}:s3`];
  const user = ["--user", `${s3.accessKey}:${s3.secretKey}`];
  const header = ["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"];
  const url = `${s3.endpoint}/${s3.bucket}/${key}`;
  return other("curl", ["--silent", "--fail", ...signed, ...user, ...header, ...way, url]);
}

/** The AWS command line: parts and ranges, several at once, as ours. */
function aws(from: string, to: string): number | undefined {
  const quiet = ["--no-progress", "--only-show-errors"];
  return other("aws", ["s3", "cp", "--endpoint-url", s3.endpoint, ...quiet, from, to]);
}

/** Runs a command line to its end; the most memory that it held, and how long it took. */
async function watched(
  args: readonly string[],
): Promise<{ readonly tookMs: number; readonly mostMib: number; readonly stdout: string }> {
  const begin = performance.now();
  const child = spawn(process.execPath, ["--no-warnings", ...args], {
    cwd: root,
    env: { PATH: process.env["PATH"], HOME: folder, S3_USER: s3.accessKey, S3_WORD: s3.secretKey },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let most = 0;
  const look = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      most = Math.max(most, Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0));
    } catch {
      // It has ended.
    }
  }, 20);
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  const [code] = (await once(child, "close")) as [number | null]; // oxlint-disable-line typescript/no-unsafe-type-assertion -- as Node documents it
  clearInterval(look);
  if (code !== 0) throw new Error(`${args.join(" ")}: ${code}\n${stdout}`);
  return { tookMs: performance.now() - begin, mostMib: Math.round(most / 1024), stdout };
}

interface Client {
  readonly put: (key: string) => Promise<number | undefined>;
  readonly get: (key: string) => Promise<number | undefined>;
}

function median(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.toSorted((one, other) => one - other)[known.length >> 1];
}

const secret = (text: string) => async () => Buffer.from(text);

function location(key: string): S3Location {
  return {
    kind: "s3",
    endpoint: new URL(s3.endpoint).host,
    insecure: true,
    bucket: s3.bucket,
    key,
    credentials: { kind: "keys", accessKey: secret(s3.accessKey), secretKey: secret(s3.secretKey) },
  };
}

function client(): Stores {
  const reach = addressRules({ allowedAddresses: loopbackAddresses });
  return openStores({ reach, operatorReach: reach, stagingFolder: join(folder, "staging") });
}

async function oursPut(key: string, path: string): Promise<void> {
  await using stores = client();
  const content = { kind: "slice", path, offset: 0, size: bytes } as const;
  await stores.upload(location(key), { kind: "file", content });
}

async function oursGet(key: string): Promise<void> {
  await using stores = client();
  const to = mkdtempSync(join(folder, "to-"));
  await stores.download(location(key), to);
  rmSync(to, { recursive: true });
}

function workflow(name: string, key: string): string {
  const path = join(folder, `${name}.yaml`);
  const artifact = `archive: {none: {}}, s3: {key: ${name}/out}`;
  writeFileSync(
    path,
    `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: ${name}-}
spec:
  entrypoint: main
  templates:
    - name: main
      inputs: {artifacts: [{name: in, path: /tmp/in, s3: {key: ${key}}}]}
      outputs: {artifacts: [{name: out, path: /tmp/out, ${artifact}}]}
      wasm:
        module: ${join(root, "test/guests/probe/probe.wasm")}
        args: [copy, /tmp/in, /tmp/out]
        limits: {files: 1Ti, fileSize: 1Ti, time: 1h}
`,
  );
  return path;
}

function configuration(): string {
  const path = join(folder, "operator.yaml");
  const host = s3.endpoint;
  writeFileSync(
    path,
    `secrets:
  s3:
    user: {fromEnv: S3_USER, hosts: ["${host}"]}
    word: {fromEnv: S3_WORD, hosts: ["${host}"]}
artifactRepository:
  s3:
    endpoint: ${new URL(host).host}
    insecure: true
    bucket: ${s3.bucket}
    accessKeySecret: {name: s3, key: user}
    secretKeySecret: {name: s3, key: word}
`,
  );
  return path;
}

const installed = await install(say, ["s3"]);
await using servers = await start(installed);
await using standIn = servers.given.s3 ? undefined : await startS3();
if (standIn) say("\n!!! AGAINST OUR STAND-IN: these figures say nothing of a real server\n");
standIn?.bucket("bench");
const s3: GivenS3 = servers.given.s3 ?? {
  endpoint: `http://${standIn?.endpoint}`,
  region: "us-east-1",
  bucket: "bench",
  accessKey: standIn?.accessKey ?? "",
  secretKey: standIn?.secretKey ?? "",
};

try {
  const file = join(folder, "large");
  const output = openSync(file, "w");
  const block = Buffer.alloc(16 * 1024 ** 2);
  for (let left = bytes; left > 0; left -= block.length) {
    randomFillSync(block);
    writeSync(output, block, 0, Math.min(left, block.length));
  }
  closeSync(output);
  await plainPut(s3, "small", join(root, "package.json"));

  const back = join(folder, "back");
  const clients: Readonly<Record<string, Client>> = {
    ours: {
      put: (key) => timed(() => oursPut(key, file)),
      get: (key) => timed(() => oursGet(key)),
    },
    node: {
      put: (key) => timed(() => plainPut(s3, key, file)),
      get: (key) => timed(() => plainGet(s3, key, back)),
    },
    curl: {
      put: async (key) => curl(key, ["--upload-file", file]),
      get: async (key) => curl(key, ["--output", back]),
    },
    aws: {
      put: async (key) => aws(file, `s3://${s3.bucket}/${key}`),
      get: async (key) => aws(`s3://${s3.bucket}/${key}`, back),
    },
  };
  const speeds: Record<string, Record<"put" | "get", (number | undefined)[]>> = {};
  await oursPut("in", file);
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, client] of Object.entries(clients)) {
      const speed = (speeds[name] ??= { put: [], get: [] });
      // S3 takes no more than this by one request.
      const whole = bytes <= 5 * 1024 ** 3 || name === "ours" || name === "aws";
      speed.put.push(whole ? await client.put(name) : undefined);
      speed.get.push(await client.get("in"));
      rmSync(back, { force: true });
      (await askS3(s3, { method: "DELETE", key: name })).resume();
    }
  }
  const mibPerSecond = Object.fromEntries(
    Object.entries(speeds).map(([name, { put, get }]) => [
      name,
      { put: median(put), get: median(get) },
    ]),
  );
  rmSync(file);

  const main = join(root, "src/cli/main.ts");
  const options = ["--config", configuration(), "--limit", "fileSize=1Ti", "--limit", "files=1Ti"];
  const run = (name: string, key: string) =>
    watched([main, "run", workflow(name, key), ...options, "--limit", "time=1h", "--json"]);
  const idle = await run("idle", "small");
  const large = await run("large", "in");
  const copied = await askS3(s3, { method: "HEAD", key: "large/out" });
  if (Number(copied.headers["content-length"]) !== bytes) throw new Error("not all of it came");
  const report = {
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`,
    server: standIn ? "stand-in" : "versitygw",
    gib,
    rounds,
    mibPerSecond,
    workflow: {
      tookMs: Math.round(large.tookMs),
      overIdleMs: Math.round(large.tookMs - idle.tookMs),
      mostMib: large.mostMib,
      idleMib: idle.mostMib,
      overIdleMib: large.mostMib - idle.mostMib,
    },
  };
  process.stdout.write(
    `${JSON.stringify(report, null, process.argv.includes("--json") ? 0 : 2)}\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
