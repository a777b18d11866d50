import assert from "node:assert/strict";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeFileSync,
} from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Home, jsonLines } from "./cli/command.ts";

const home = new Home();
const secret = "s3cret-value/with+signs=and ä";
home.environment["SERVICE_TOKEN"] = secret;
const workflow = "test/cli/http.yaml";

interface Seen {
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}
const seen: Seen[] = [];
/** The request that is not answered before something has happened. */
let held: { readonly at: number; readonly until: Promise<void> } | undefined;
/** Answers with all that it got, in every spelling that servers use. */
const server = createServer((request, response) => {
  const pieces: Buffer[] = [];
  request.on("data", (piece: Buffer) => pieces.push(piece));
  request.on("end", () => {
    const body = Buffer.concat(pieces).toString();
    const { headers } = request;
    seen.push({ headers, body });
    if (held?.at === seen.length) void held.until.then(() => answer(response, headers));
    else answer(response, headers);
  });
});

function answer(response: ServerResponse, headers: IncomingMessage["headers"]): void {
  // Header values come as Latin-1.
  const bytes = Buffer.from(headers.authorization ?? "", "latin1");
  response.setHeader("x-echo", headers.authorization ?? "");
  response.write(`${JSON.stringify({ got: bytes.toString() })}\n${bytes.toString("base64")}\n`);
  response.write(`${encodeURIComponent(bytes.toString())}\n${bytes.toString("hex")}\n`);
  // In two pieces.
  response.write(bytes.subarray(0, 15));
  setTimeout(() => response.end(bytes.subarray(15)), 30);
}

/** Processes that a process has started, and theirs. */
function processesBelow(pid: number): readonly number[] {
  const tasks = readdirSync(`/proc/${pid}/task`);
  const children = tasks.flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ").filter(Boolean),
  );
  return children.map(Number).flatMap((child) => [child, ...processesBelow(child)]);
}

/** Which of some texts a process has in the memory that it may write to; undefined where we may not look. */
function inMemory(pid: number, texts: readonly Buffer[]): ReadonlySet<Buffer> | undefined {
  let file: number;
  try {
    file = openSync(`/proc/${pid}/mem`, "r");
  } catch {
    return undefined;
  }
  const found = new Set<Buffer>();
  const overlap = Math.max(...texts.map((text) => text.length));
  const piece = Buffer.alloc(8 * 1024 * 1024 + overlap);
  for (const place of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
    const [, first, last] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(place) ?? [];
    if (first === undefined || last === undefined) continue;
    const end = Number.parseInt(last, 16);
    for (let at = Number.parseInt(first, 16); at < end; at += piece.length - overlap) {
      try {
        const size = readSync(file, piece, 0, Math.min(piece.length, end - at), at);
        for (const text of texts) if (piece.subarray(0, size).includes(text)) found.add(text);
      } catch {
        // A guard page, or a device.
      }
    }
  }
  closeSync(file);
  return found;
}

let host = "";
before(async () => {
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server on a port has such an address
  host = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => {
  server.close();
  home[Symbol.dispose]();
});

function configuration(text: string): string {
  const path = join(home.folder, "operator.yaml");
  writeFileSync(path, text);
  return path;
}

async function atalanta(...args: readonly string[]): Promise<{
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}> {
  const started = home.start(args);
  const status = await started.ended;
  return { status, stdout: started.stdout, stderr: started.stderr };
}

/** Spellings in which somebody could read it. */
const spellings = [
  secret,
  encodeURIComponent(secret),
  Buffer.from(secret).toString("hex"),
  Buffer.from(`Bearer ${secret}`).toString("base64").slice(12, -4),
  Buffer.from(secret, "latin1").toString("latin1"),
  "s3cret-value",
];

function assertAbsent(text: string | Buffer, where: string): void {
  for (const spelling of spellings) {
    assert.ok(!text.includes(spelling), `${where} has ${spelling}`);
    const wide = Buffer.from(spelling, "utf16le");
    assert.ok(
      typeof text === "string" || !text.includes(wide),
      `${where} has ${spelling} in UTF-16`,
    );
  }
}

describe("a workflow's HTTP requests", () => {
  test("carry a secret to the host that it names, and nothing that is kept or shown has it", async () => {
    const config = configuration(`
permissions: { http: { allowedHosts: ["${host}"] } }
secrets: { service: { token: { fromEnv: SERVICE_TOKEN, hosts: ["${host}"] } } }
`);
    const flags = ["--config", config, "--json", "--log", "--name", "carried"];
    const run = await atalanta("run", workflow, "-p", `host=${host}`, ...flags);
    assert.equal(run.status, 0, run.stdout + run.stderr);
    const { headers, body } = seen.at(-1) ?? assert.fail("nothing came");
    assert.equal(Buffer.from(headers.authorization ?? "", "latin1").toString(), `Bearer ${secret}`);
    assert.equal(body, "the body");
    const shown = [
      run,
      await atalanta("get", "carried", "--json"),
      await atalanta("get", "carried"),
      await atalanta("logs", "carried"),
    ];
    const [, , , logs] = shown;
    // The placeholder stands where the value was: in a header, in JSON, and across two pieces.
    assert.equal(logs?.stdout.match(/Bearer ATALANTA_SECRET_[0-9a-f]{32}/g)?.length, 6);
    for (const { stdout, stderr } of shown) assertAbsent(stdout + stderr, "output");
    let files = 0;
    for (const entry of readdirSync(home.folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      files++;
      assertAbsent(readFileSync(join(entry.parentPath, entry.name)), entry.name);
    }
    assert.ok(files > 3, "the journal and the log are among them");
    const nodes = jsonLines(run.stdout);
    assert.ok(nodes.length > 2);
  });

  test("carry it also from a process of their own, whose memory never has it", async (context) => {
    if (process.platform !== "linux") return context.skip("reads /proc");
    const config = configuration(`
permissions: { http: { allowedHosts: ["${host}"] } }
secrets: { service: { token: { fromEnv: SERVICE_TOKEN, hosts: ["${host}"] } } }
`);
    const before = seen.length;
    let release = (): void => undefined;
    held = { at: before + 2, until: new Promise<void>((done) => (release = done)) };
    const parameters = ["-p", `host=${host}`, "-p", "times=2"];
    const flags = ["--trust", "process", "--config", config, "--name", "walled"];
    const started = home.start(["run", workflow, ...parameters, ...flags]);
    // It has the first answer, and waits for the second one.
    while (seen.length < before + 2 && started.process.exitCode === null) await sleep(20);
    const parent = started.process.pid ?? assert.fail();
    const placeholder = Buffer.from("ATALANTA_SECRET_");
    // The beginning of the value is in every spelling that leaves letters as they are.
    const spelled = [
      Buffer.from("s3cret-value"),
      Buffer.from("s3cret-value", "utf16le"),
      Buffer.from(Buffer.from(secret).toString("hex")),
    ];
    const own = inMemory(parent, spelled);
    const below = processesBelow(parent).map((pid) => inMemory(pid, [placeholder, ...spelled]));
    release();
    held = undefined;
    assert.equal(await started.ended, 0, started.stdout + started.stderr);
    if (!own) return context.skip("may not read the memory of other processes");
    assert.ok(own.size > 0, "the search finds it in the process that has it");
    const withGuest = below.filter((found) => found?.has(placeholder));
    assert.equal(withGuest.length, 1, "one process has the guest");
    for (const found of below) for (const text of spelled) assert.ok(!found?.has(text));
  });

  test("are refused when one of the two lists does not have them, and the failure says which and what to add", async () => {
    const config = configuration(`
secrets: { service: { token: { fromEnv: SERVICE_TOKEN, hosts: ["${host}"] } } }
`);
    const run = await atalanta("run", workflow, "-p", `host=${host}`, "--config", config);
    assert.equal(run.status, 1);
    assert.match(run.stdout, /is not in the operator's list/);
    assert.ok(run.stdout.includes(`or give --allow-host ${host}`), run.stdout);
    const named = ["--allow-host", "http://localhost:1", "-p", "host=http://localhost:1"];
    const address = await atalanta("run", workflow, "--config", config, ...named);
    assert.match(address.stdout, /leads to an address that is loopback/);
  });

  test("are allowed by flags alone", async () => {
    const config = configuration(`
secrets: { service: { token: { fromEnv: SERVICE_TOKEN, hosts: ["http://localhost:*"] } } }
`);
    const local = host.replace("127.0.0.1", "localhost");
    const flags = ["--allow-host", local, "--allow-address", "127.0.0.0/8", "--config", config];
    const run = await atalanta("run", workflow, "-p", `host=${local}`, ...flags);
    assert.equal(run.status, 0, run.stdout + run.stderr);
  });

  test("a secret that is not given, or not where it should be, ends the step before it starts", async () => {
    const missing = await atalanta("run", workflow, "-p", `host=${host}`, "--allow-host", host);
    assert.equal(missing.status, 1);
    assert.match(
      missing.stdout,
      /wants the secret "service\/token", which the operator has not given/,
    );
    const config = configuration(`
secrets: { service: { token: { fromEnv: NO_SUCH_VARIABLE, hosts: ["${host}"] } } }
`);
    const unset = await atalanta("run", workflow, "-p", `host=${host}`, "--config", config);
    assert.match(unset.stdout, /secrets\.service\.token: the variable NO_SUCH_VARIABLE is not set/);
  });
});

describe("a configuration beside the workflow", () => {
  test("is not the operator's word about permissions and secrets", async () => {
    const folder = join(home.folder, "foreign");
    const cases = [
      ["permissions: { http: { allowedHosts: [a.example] } }", "permissions"],
      ["secrets: { a: { b: { fromEnv: HOME, hosts: [a.example] } } }", "secrets"],
      ["registries: { 10.0.0.1:5000: { plainHttp: true } }", "registries"],
    ] as const;
    for (const [text, key] of cases) {
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, "atalanta.yaml"), text);
      writeFileSync(join(folder, "w.yaml"), readFileSync(workflow, "utf8"));
      const file = join(folder, "w.yaml");
      const run = await atalanta("run", file, "-p", "host=https://a.example");
      assert.equal(run.status, 2);
      assert.ok(run.stderr.includes(`"${key}" of`), run.stderr);
      assert.match(run.stderr, /counts only when you say that the file is yours/);
      const named = ["--config", join(folder, "atalanta.yaml")];
      const own = await atalanta("run", file, "-p", "host=https://a.example", ...named);
      assert.ok(!own.stderr.includes("counts only"), own.stderr);
    }
  });

  test("is told what is wrong in it, with the place", async () => {
    const cases = [
      ["permissions: { https: {} }", /Unknown key "https" in permissions/],
      ["permissions: { http: { allowedHosts: api.example.com } }", /is no list/],
      ["permissions: { http: { allowedHosts: ['ftp://x'] } }", /has the scheme "ftp"/],
      ["permissions: { http: { allowedAddresses: [10.0.0.0/33] } }", /is no address and no range/],
      ["permissions: { http: { caFile: /nowhere.pem } }", /cannot read "\/nowhere.pem": ENOENT/],
      ["registries: { ghcr.io: { mirror: x } }", /Unknown key "mirror" in registries\.ghcr\.io/],
      ["registries: { ghcr: {} }", /"ghcr" names no registry/],
      ["registries: { 'https://ghcr.io': {} }", /names no registry/],
      ["registries: { ghcr.io: {}, GHCR.io: {} }", /is "ghcr\.io", which is there already/],
      ["registries: { ghcr.io: { mirrors: ['ftp://x.y'] } }", /names no registry|is no mirror/],
      ["registries: { ghcr.io: { plainHttp: often } }", /neither true nor false/],
      ["registries: { ghcr.io: { caFile: /nowhere.pem } }", /cannot read "\/nowhere.pem": ENOENT/],
      [
        `registries: { ghcr.io: { caFile: ${import.meta.dirname}/network/tls/make.sh } }`,
        /caFile has no certificate/,
      ],
      ["secrets: { a: { b: { value: x, hosts: [a.example] } } }", /Unknown key "value"/],
      ["secrets: { a: { b: { hosts: [a.example] } } }", /neither fromEnv nor fromFile/],
      ["secrets: { a: { b: { fromEnv: A, fromFile: B, hosts: [x] } } }", /fromEnv and fromFile/],
      ["secrets: { a: { b: { fromEnv: A } } }", /has no hosts/],
      ["secrets: { a: { b: { fromEnv: A, hosts: [x], in: [url] } } }", /has "url"/],
    ] as const;
    for (const [text, expected] of cases) {
      const config = configuration(text);
      const run = await atalanta("run", workflow, "-p", "host=https://x", "--config", config);
      assert.equal(run.status, 2, text);
      assert.match(run.stderr, expected);
    }
  });
});

describe("atalanta exec", () => {
  const client = "test/guests/http/http.wasm";

  test("reaches no host but those of --allow-host", async () => {
    const command = ["--", "GET", `${host}/`, "-q", "1"];
    const none = await atalanta("exec", client, ...command);
    assert.equal(none.status, 3);
    assert.match(
      none.stdout,
      /^send: errno 2: network-denied: GET .* is not in the step's list and the operator's list\./,
    );
    const allowed = await atalanta("exec", client, "--allow-host", host, ...command);
    assert.match(allowed.stdout, /^200\n\d+ bytes$/);
    const local = host.replace("127.0.0.1", "localhost");
    const named = ["--allow-host", local];
    const away = await atalanta("exec", client, ...named, "--", "GET", `${local}/`, "-q", "1");
    assert.match(away.stdout, /leads to an address that is loopback/);
    const listed = [...named, "--allow-address", "127.0.0.1", "--allow-address", "::1"];
    const there = await atalanta("exec", client, ...listed, "--", "GET", `${local}/`, "-q", "1");
    assert.match(there.stdout, /^200\n/);
  });
});
