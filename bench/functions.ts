// Functions as their users see them, in one run: over HTTP beside a bare node:http server, in the same process, through NATS with three runners, the first answer of a new module and from no
// runner process at all, a durable workflow of three steps, and a gigabyte through a function. `npm run bench -- functions --json [http|local|nats|first|workflow|stream …]`.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../src/client/mod.ts";
import { openLocal } from "../src/local/mod.ts";
import { createRunners } from "../src/runner/mod.ts";
import { defaultLimits } from "../src/limits/mod.ts";
import { natsProgram, NatsServer } from "../test/remote/nats.ts";

const root = resolve(import.meta.dirname, "..");
const program = join(root, "dist/bundle/main.js");
const guest = join(root, "test/guests/functions/functions.wasm");
const hello = join(root, "examples/functions/words.wasm");
const asked = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const wanted = (name: string): boolean => asked.length === 0 || asked.includes(name);
const report: Record<string, unknown> = {
  machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`,
};

class Server implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly #home = mkdtempSync(join(tmpdir(), "bench-"));
  url = "";
  said = "";
  constructor(words: readonly string[], core?: number) {
    const command = [process.execPath, "--no-warnings", ...words];
    const [file = "", ...rest] =
      core === undefined ? command : ["taskset", "-c", String(core), ...command];
    this.child = spawn(file, rest, {
      env: { PATH: process.env["PATH"], HOME: this.#home, ATALANTA_HOME: join(this.#home, "data") },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => (this.said += text));
  }
  async until(text: string): Promise<this> {
    for (let left = 800; !this.said.includes(text); left--) {
      if (left === 0 || this.child.exitCode !== null) throw new Error(this.said);
      await sleep(10);
    }
    this.url = /Listens on (\S+)/.exec(this.said)?.[1] ?? "";
    return this;
  }
  residentBytes(): number {
    return (
      Number(
        /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.child.pid}/status`, "utf8"))?.[1] ?? 0,
      ) * 1024
    );
  }
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null) {
      this.child.kill("SIGKILL");
      await once(this.child, "exit");
    }
    rmSync(this.#home, { recursive: true, force: true });
  }
}
const serve = (more: readonly string[] = [], core?: number): Promise<Server> =>
  new Server(
    [
      program,
      "serve",
      "--listen=127.0.0.1:0",
      `--image=f=${guest}`,
      `--image=words=${hello}`,
      ...more,
    ],
    core,
  ).until("Listens on");
async function deploy(url: string, name: string): Promise<void> {
  const response = await fetch(`${url}/v1/namespaces/default/functions/${name}`, {
    method: "PUT",
    body: JSON.stringify({ image: name }),
  });
  if (!response.ok) throw new Error(await response.text());
}
const quantile = (values: readonly number[], part: number, digits = 2): number =>
  Number(
    (values.toSorted((left, right) => left - right)[Math.floor(values.length * part)] ?? 0).toFixed(
      digits,
    ),
  );

/** Requests over connections that are kept: as fast as they are answered, or so many in a second. The thread never sleeps, because to wake one costs more here than a request. */
async function load(
  url: string,
  path: string,
  body: string,
  how: { readonly connections: number; readonly ms: number; readonly perSecond?: number },
): Promise<{ readonly perSecond: number; readonly p50: number; readonly p99: number }> {
  const { port } = new URL(url);
  const request = Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  const times: number[] = [];
  let counted = false;
  let stopped = false;
  const due: number[] = [];
  const idle: (() => void)[] = [];
  const sockets = Array.from({ length: how.connections }, () => {
    const socket = connectSocket(Number(port), "127.0.0.1").setNoDelay(true);
    let since = 0;
    let left = -1;
    const send = (at: number): void => {
      since = at;
      socket.write(request);
    };
    const next = (): void => {
      if (stopped) return;
      if (how.perSecond === undefined) send(performance.now());
      else {
        const at = due.shift();
        if (at === undefined) idle.push(next);
        else send(at);
      }
    };
    socket.on("connect", next);
    socket.on("data", (bytes) => {
      if (left < 0) {
        const text = bytes.toString("latin1");
        if (!text.startsWith("HTTP/1.1 2")) throw new Error(text);
        left = text.indexOf("\r\n\r\n") + 4 + Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      }
      left -= bytes.length;
      if (left > 0) return;
      left = -1;
      if (counted) times.push(performance.now() - since);
      next();
    });
    return socket;
  });
  let begun = performance.now();
  let sent = 0;
  const spin = (): void => {
    if (stopped) return;
    if (how.perSecond !== undefined) {
      // What should have been sent by now is: a slow server does not slow its callers down.
      const all = ((performance.now() - begun) / 1000) * how.perSecond;
      for (; sent < all; sent++) {
        due.push(begun + (sent / how.perSecond) * 1000);
        idle.pop()?.();
      }
    }
    setImmediate(spin);
  };
  spin();
  await sleep(1500);
  counted = true;
  const from = performance.now();
  await sleep(how.ms);
  const seconds = (performance.now() - from) / 1000;
  stopped = true;
  for (const socket of sockets) socket.destroy();
  begun = 0;
  return {
    perSecond: Math.round(times.length / seconds),
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
  };
}

if (wanted("http")) {
  const pin = spawnSync("taskset", ["-c", "0", "true"]).status === 0;
  if (pin) spawnSync("taskset", ["-pc", "1", String(process.pid)]);
  const core = pin ? 0 : undefined;
  const path = "/v1/namespaces/default/functions/words/call/greet";
  const body = '["Ada"]';
  {
    await using bare = await new Server(
      [
        "-e",
        `require("node:http").createServer((q,s)=>{const p=[];q.on("data",d=>p.push(d));q.on("end",()=>{s.writeHead(200,["content-type","application/json","content-length","13"]);s.end('"Hello, Ada!"')})}).listen(0,"127.0.0.1",function(){console.log("Listens on http://127.0.0.1:"+this.address().port)})`,
      ],
      core,
    ).until("Listens on");
    report["httpBare"] = await load(bare.url, path, body, { connections: 64, ms: 4000 });
  }
  await using server = await serve([], core);
  await deploy(server.url, "words");
  const most = await load(server.url, path, body, { connections: 64, ms: 6000 });
  report["http"] = { pinnedToOneCore: pin, ...most };
  report["httpAt70Percent"] = await load(server.url, path, body, {
    connections: 64,
    ms: 6000,
    perSecond: Math.round(most.perSecond * 0.7),
  });
  if (pin) spawnSync("taskset", ["-pc", "0-63", String(process.pid)]);
  // And with all processors, which whoever sends the requests has, too.
  await using free = await serve();
  await deploy(free.url, "words");
  const all = await load(free.url, path, body, { connections: 64, ms: 5000 });
  report["httpOnAll"] = all;
  const perSecond = Math.round(all.perSecond * 0.7);
  report["httpOnAllAt70Percent"] = await load(free.url, path, body, {
    connections: 64,
    ms: 5000,
    perSecond,
  });
}

if (wanted("local")) {
  const local = await openLocal();
  const module = connect("local:", { fetch: local.fetch }).module<{
    greet(who: string): Promise<string>;
  }>(hello);
  await using runners = createRunners({ spares: 0 });
  const engine = runners.engine({ trust: "thread", owner: "bench" });
  const loaded = await engine.load({ path: hello });
  const bare = (): Promise<unknown> =>
    engine.run(loaded, {
      arguments: ["words", "greet"],
      environment: new Map([["ATALANTA_CALL_ID", "x"]]),
      stdin: new TextEncoder().encode('["Ada"]'),
      mounts: [],
      collect: [],
      limits: defaultLimits,
    });
  const through: number[] = [];
  const under: number[] = [];
  for (let round = 0; round < 6000; round++) {
    let at = performance.now();
    await module.greet("Ada");
    const one = performance.now() - at;
    at = performance.now();
    await bare();
    const other = performance.now() - at;
    if (round < 1000) continue;
    through.push(one * 1000);
    under.push(other * 1000);
  }
  report["localUs"] = {
    callP50: quantile(through, 0.5, 0),
    engineAloneP50: quantile(under, 0.5, 0),
    overheadP50: Math.round(quantile(through, 0.5, 1) - quantile(under, 0.5, 1)),
  };
  await local.close();
}

if (wanted("nats")) {
  const built = await natsProgram();
  if ("missing" in built) process.stderr.write(`!!! NO FIGURES OF NATS: ${built.missing}\n`);
  else {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    const flag = `--nats=${nats.url}`;
    const front = stack.use(await serve([flag, "--no-run"]));
    await deploy(front.url, "words");
    for (let left = 3; left > 0; left--)
      stack.use(
        await new Server([program, "runner", flag, `--image=words=${hello}`]).until("Takes calls"),
      );
    const greet = "/v1/namespaces/default/functions/words/call/greet";
    report["natsOneAfterTheOther"] = await load(front.url, greet, '["Ada"]', {
      connections: 1,
      ms: 4000,
    });
    report["natsAtOnce"] = await load(front.url, greet, '["Ada"]', { connections: 64, ms: 6000 });
  }
}

if (wanted("first")) {
  const source = readFileSync(hello);
  const times: number[] = [];
  for (let round = 0; round < 12; round++) {
    // Another module each time: a custom section makes its digest new. The server reads it from its file when it is deployed.
    const own = Buffer.concat([source, Buffer.from([0, 3, 1, 0x78, round])]);
    const copy = join(tmpdir(), `bench-first-${process.pid}.wasm`);
    writeFileSync(copy, own);
    await using other = await serve([`--image=new=${copy}`]);
    const at = performance.now();
    await deploy(other.url, "new");
    const answer: unknown = await connect(other.url)
      .module<{ greet(who: string): Promise<string> }>("new")
      .greet("Ada");
    if (answer !== "Hello, Ada!") throw new Error("wrong answer");
    times.push(performance.now() - at);
    rmSync(copy);
  }
  report["deployToFirstAnswerMs"] = {
    p50: quantile(times, 0.5, 0),
    worst: quantile(times, 0.999, 0),
  };
  // A pool that has gone to zero: processes end when nobody has called for a while.
  const zero: number[] = [];
  await using runners = createRunners({ spares: 0, idleMs: 100 });
  const engine = runners.engine({ trust: "process", owner: "bench" });
  for (let round = 0; round < 12; round++) {
    while (runners.processes().length > 0) await sleep(50);
    const at = performance.now();
    const loaded = await engine.load({ path: hello });
    const { kind } = await engine.run(loaded, {
      arguments: ["words", "greet"],
      environment: new Map(),
      stdin: new TextEncoder().encode('["Ada"]'),
      mounts: [],
      collect: [],
      limits: defaultLimits,
    });
    if (kind !== "exited") throw new Error(kind);
    // The first one looks what this machine has for walls, too.
    if (round > 0) zero.push(performance.now() - at);
  }
  report["fromNoRunnerProcessMs"] = {
    p50: quantile(zero, 0.5, 0),
    worst: quantile(zero, 0.999, 0),
  };
}

if (wanted("workflow")) {
  await using server = await serve();
  const text = `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: three-}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: a, template: hello}], [{name: b, template: hello}], [{name: c, template: hello}]]
  - name: hello
    wasm: {image: words, args: [greet], stdin: '["Ada"]'}
`;
  const times: number[] = [];
  for (let round = 0; round < 400; round++) {
    const at = performance.now();
    const response = await fetch(`${server.url}/v1/namespaces/default/workflows?wait=30`, {
      method: "POST",
      body: text,
    });
    const said = await response.text();
    if (!said.includes('"phase":"Succeeded"')) throw new Error(said);
    if (round >= 100) times.push(performance.now() - at);
  }
  report["threeStepWorkflowMs"] = { p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
}

if (wanted("stream")) {
  await using server = await serve();
  await deploy(server.url, "f");
  const block = new Uint8Array(1024 * 1024);
  const module = connect(server.url).module<{
    pipe(input: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;
  }>("f");
  const through = async (mebibytes: number): Promise<number> => {
    async function* blocks(): AsyncGenerator<Uint8Array> {
      for (let left = mebibytes; left > 0; left--) yield block;
    }
    let size = 0;
    for await (const piece of module.pipe(blocks())) size += piece.length;
    return size;
  };
  await through(64);
  const before = server.residentBytes();
  let most = before;
  const watch = setInterval(() => (most = Math.max(most, server.residentBytes())), 50);
  const at = performance.now();
  const size = await through(1024);
  const seconds = (performance.now() - at) / 1000;
  clearInterval(watch);
  report["stream"] = {
    bytes: size,
    megabytesPerSecond: Math.round(size / 1e6 / seconds),
    residentBeforeMiB: Math.round(before / 2 ** 20),
    residentMostMiB: Math.round(most / 2 ** 20),
  };
  {
    // The same without HTTP.
    const local = await openLocal();
    const own = connect("local:", { fetch: local.fetch }).module<{
      pipe(input: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;
    }>(guest);
    const from = performance.now();
    let bytes = 0;
    for await (const piece of own.pipe(
      (async function* () {
        for (let left = 1024; left > 0; left--) yield block;
      })(),
    ))
      bytes += piece.length;
    report["streamHere"] = {
      megabytesPerSecond: Math.round(bytes / 1e6 / ((performance.now() - from) / 1000)),
    };
    await local.close();
  }
}

process.stdout.write(`${JSON.stringify(report, null, process.argv.includes("--json") ? 0 : 2)}\n`);
