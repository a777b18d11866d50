/**
 * Stands in for a runner process that somebody else has taken over: it is started as ours are, loads whatever it is told to, and
 * does to each "guest" what the guest's first argument says.
 */
import { spawnSync } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer, Socket } from "node:net";
import { Worker } from "node:worker_threads";

const channel = new Socket({ fd: 3, readable: true, writable: true });
let incoming = Buffer.alloc(0);

function send(header: unknown, body: Uint8Array = new Uint8Array(0)): void {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32LE(text.length, 0);
  prefix.writeUInt32LE(body.length, 4);
  channel.write(Buffer.concat([prefix, text, body]));
}

interface Order {
  readonly type: string;
  readonly id: number;
  readonly arguments: readonly string[];
  readonly collect: readonly string[];
}

channel.on("data", (chunk: Buffer) => {
  incoming = Buffer.concat([incoming, chunk]);
  while (incoming.length >= 8) {
    const header = incoming.readUInt32LE(0);
    const size = 8 + header + incoming.readUInt32LE(4);
    if (incoming.length < size) return;
    const order = JSON.parse(incoming.toString("utf8", 8, 8 + header)) as Order;
    incoming = incoming.subarray(size);
    if (order.type === "load") {
      send({ type: "loaded", id: order.id, compileMs: 1, imports: [], exports: [] });
    } else if (order.type === "run") acts[order.arguments[0] ?? ""]?.(order.id, order);
  }
});
channel.on("close", () => process.exit());

const usage = {
  instantiateMs: 0,
  runMs: 0,
  cpuMs: 0,
  memoryBytes: 0,
  filesBytesWritten: 0,
  filesCreated: 0,
};
const exited = { kind: "exited", exitCode: 0 };

function done(id: number, changes: object = {}, body: Uint8Array = new Uint8Array(0)): void {
  const result = {
    stdout: [0, 0],
    stderr: [0, 0],
    usage,
    limitsReached: [],
    end: exited,
    collected: [],
    ...changes,
  };
  send({ type: "done", id, result }, body);
}

const file = (content: readonly unknown[]): object => ({ kind: "file", mode: 0o644, content });

/** What it tells as the guest's stdout. */
function tell(id: number, said: unknown): void {
  const text = Buffer.from(JSON.stringify(said));
  done(id, { stdout: [0, text.length] }, text);
}

function tried(work: () => unknown): string {
  try {
    return `did it: ${String(work())}`;
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown ? String(thrown.code) : String(thrown);
  }
}

const acts: Readonly<Record<string, (id: number, order: Order) => void>> = {
  honest: (id) => tell(id, "fine"),
  garbage: () => channel.write(Buffer.from("this is no frame at all, but quite a lot of text")),
  "no-json": () => send("{not json"),
  list: () => send([]),
  nothing: () => send("null"),
  "unknown-type": (id) => send({ type: "rule-the-world", id }),
  "unknown-guest": () => done(4_000_000),
  "negative-guest": () => done(-1),
  "huge-header": () => channel.write(Buffer.from("ffffffff00000000", "hex")),
  "huge-body": () => channel.write(Buffer.from("02000000ffffffff", "hex")),
  flood: (id) => {
    for (let round = 0; round < 200; round++) {
      send({ type: "output", id, stream: "stdout" }, new Uint8Array(64 * 1024));
    }
  },
  drip: (id) => {
    for (let round = 0; round < 60_000; round++) {
      send({ type: "output", id, stream: "stdout" }, new Uint8Array(1));
    }
  },
  /** As a guest of ours that has printed much and goes on with a few bytes before each short sleep. */
  steady: (id) => {
    for (let round = 0; round < 20_000; round++) {
      send({ type: "output", id, stream: "stdout" }, new Uint8Array(1));
    }
    let left = 300;
    const timer = setInterval(() => {
      for (const stream of ["stdout", "stderr"]) {
        send({ type: "output", id, stream }, new Uint8Array(1));
      }
      if (--left > 0) return;
      clearInterval(timer);
      tell(id, "fine");
    }, 3);
  },
  chatter: (id) => {
    for (let round = 0; round < 2000; round++) send({ type: "close", id, handle: round });
  },
  "words-without-end": () => {
    const text = "x".repeat(65_536);
    for (;;) writeSync(2, text);
  },
  "empty-output": (id) => send({ type: "output", id, stream: "stdout" }),
  "stdout-outside": (id) => done(id, { stdout: [0, 1_000_000] }),
  "stdout-negative": (id) => done(id, { stdout: [-5, 5] }),
  "too-much-stdout": (id) => done(id, { stdout: [0, 20_000_000] }, new Uint8Array(20_000_000)),
  "usage-text": (id) => done(id, { usage: { ...usage, runMs: "much" } }),
  "usage-infinite": (id) =>
    send(
      JSON.stringify({
        type: "done",
        id,
        result: {
          stdout: [0, 0],
          stderr: [0, 0],
          usage,
          limitsReached: [],
          end: exited,
          collected: [],
        },
      }).replace('"runMs":0', '"runMs":1e999'),
    ),
  "unknown-end": (id) => done(id, { end: { kind: "transcended" } }),
  "unknown-code": (id) =>
    done(id, { end: { kind: "failed", failure: { code: "__proto__", message: "x" } } }),
  "too-few-paths": (id) => done(id, { collected: [] }),
  "path-up": (id) =>
    done(id, {
      collected: [{ kind: "directory", entries: [["d", "../../etc", 0o755]] }],
    }),
  "path-absolute": (id) =>
    done(id, { collected: [{ kind: "directory", entries: [["d", "/etc", 0o755]] }] }),
  "path-zero": (id) =>
    done(id, { collected: [{ kind: "directory", entries: [["d", "a\0b", 0o755]] }] }),
  "file-elsewhere": (id) => done(id, { collected: [file(["/etc/passwd", 0, 10])] }),
  "file-up": (id) => done(id, { collected: [file(["out/../../../etc/passwd", 0, 10])] }),
  "file-not-given": (id) => done(id, { collected: [file(["in/7-7", 0, 10])] }),
  "file-missing": (id) => done(id, { collected: [file(["out/a/b", 0, 10])] }),
  "file-laid": (id, order) =>
    done(id, { collected: [file(["out/l/f", 0, Number(order.arguments[1])])] }),
  "file-larger": (id) => {
    mkdirSync("out/s");
    writeFileSync("out/s/f", "short");
    done(id, { collected: [file(["out/s/f", 0, 1_000_000])] });
  },
  "file-folder": (id) => {
    mkdirSync("out/d/f", { recursive: true });
    done(id, { collected: [file(["out/d/f", 0, 4096])] });
  },
  "file-over-limit": (id) => done(id, { collected: [file(["out/a/b", 0, 2 ** 50])] }),
  "file-twice": (id) => {
    mkdirSync("out/t");
    writeFileSync("out/t/f", "1");
    linkSync("out/t/f", "out/t/g");
    done(id, { collected: [file(["out/t/f", 0, 1])] });
  },
  "file-again": (id) => {
    mkdirSync("out/a");
    writeFileSync("out/a/f", new Uint8Array(1_000_000));
    for (let round = 0; round < 3; round++) {
      done(id, { collected: [file(["out/a/f", 0, 1_000_000])] });
    }
  },
  "file-beside-missing": (id) => {
    mkdirSync("out/b");
    writeFileSync("out/b/f", "is there");
    const entries = ["f", "g"].map((name) => ["f", name, 0o644, [`out/b/${name}`, 0, 8]]);
    done(id, { collected: [{ kind: "directory", entries }] });
  },
  "request-not-allowed": (id) =>
    send({
      type: "send",
      id,
      call: 1,
      request: { method: "GET", url: "http://x/", headers: [], redirects: 0 },
    }),
  silent: () => undefined,
  die: () => process.exit(3),
  eat: () => {
    for (const eaten: Uint8Array[] = []; ;) eaten.push(new Uint8Array(64 * 1024 * 1024).fill(1));
  },
  hang: () => {
    for (;;);
  },
  look: (id) =>
    tell(id, {
      environment: Object.keys(process.env),
      user: process.getuid?.(),
      permission: Boolean(process.permission),
      passwd: tried(() => readFileSync("/etc/passwd", "utf8")),
      up: tried(() => readdirSync("..")),
      ups: tried(() => readdirSync("../..")),
      home: tried(() => readdirSync("/root")),
      memory: tried(() => readFileSync("/proc/self/environ")),
      write: tried(() => writeFileSync("/tmp/atalanta-liar", "x")),
      writeGiven: tried(() => writeFileSync("in/x", "x")),
      writeOwn: tried(() => {
        writeFileSync("out/own", "x");
        return statSync("out/own").size;
      }),
      rename: tried(() => renameSync("out", "other")),
      removeGiven: tried(() => rmdirSync("in")),
      spawn: tried(() => spawnSync("/bin/true").status),
      listen: tried(() => createServer().listen(0)),
      addon: tried(() => process.dlopen({ exports: {} }, "/tmp/none.node")),
      // oxlint-disable-next-line typescript/no-implied-eval -- what is tested is that it fails
      code: tried(() => new Function("return 1")()),
    }),
  "look-from-thread": (id) => {
    const source = `
      const { parentPort } = require("node:worker_threads");
      const tried = (work) => { try { return "did it: " + work(); } catch (thrown) { return thrown.code ?? String(thrown); } };
      parentPort.postMessage({
        permission: Boolean(process.permission),
        passwd: tried(() => require("node:fs").readFileSync("/etc/passwd", "utf8")),
        spawn: tried(() => require("node:child_process").spawnSync("/bin/true").status),
      });`;
    const worker = new Worker(source, { eval: true });
    worker.on("message", (said) => tell(id, said));
  },
  connect: (id, order) => {
    const socket = new Socket();
    socket.on("connect", () => tell(id, "connected"));
    socket.on("error", (problem) => tell(id, "code" in problem ? problem.code : problem.message));
    try {
      socket.connect(Number(order.arguments[1]), "127.0.0.1");
    } catch (thrown) {
      tell(id, thrown instanceof Error && "code" in thrown ? thrown.code : String(thrown));
    }
  },
};

send({ type: "ready" });
