/**
 * A runner process: an engine behind a channel, and nothing else. It belongs to one owner at most, begins with no rights, and
 * ends with the process that started it. Everything on its way down is ours; whatever goes up may be a guest's doing.
 */
import { closeSync, rmdirSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { dirname } from "node:path";
import { createEngine, type HttpHandler, type Module, type Result } from "../engine/mod.ts";
import { Failure, toFailure, type FailureRecord } from "../errors/mod.ts";
import { defaultLimits } from "../limits/mod.ts";
import type { HostBytes, HttpResponse, Mount, TreeEntry } from "../wasi/mod.ts";
import { Body, Channel, type Span } from "./channel.ts";
import {
  channelDescriptor,
  pouredBytes,
  writtenFolder,
  type Answer,
  type RunnerSettings,
  type ToRunner,
  type WireBytes,
  type WireEntry,
  type WireMount,
} from "./wire.ts";

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the process that started this one wrote it
const settings = JSON.parse(process.argv[2] ?? "{}") as RunnerSettings;
for (const descriptor of settings.close) closeSync(descriptor);

const engine = createEngine({
  threads: settings.threads,
  mostThreads: settings.threads,
  parkedBytes: settings.parkedBytes,
  // Relative: the folders above it are not to be entered from here.
  stagingFolder: writtenFolder,
});
const modules = new Map<number, Module>();
const running = new Map<number, AbortController>();
const written = new Map<number, ReadonlySet<string>>();
const calls = new Map<number, (answer: Answer, body: Uint8Array) => void>();
let nextCall = 1;

const channel = new Channel(new Socket({ fd: channelDescriptor, readable: true, writable: true }), {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- from the process that started this one
  receive: (header, body) => receive(header as ToRunner, body),
  ceilings: () => ({ headerBytes: 2 ** 32, bodyBytes: 2 ** 32 }),
  broken: () => process.exit(1),
  ended: () => process.exit(0),
});

function receive(message: ToRunner, body: Uint8Array): void {
  if (message.type === "run") void run(message, body);
  else if (message.type === "answer") calls.get(message.call)?.(message.answer, body);
  else if (message.type === "stop") running.get(message.id)?.abort();
  else if (message.type === "release") release(message.id);
  else if (message.type === "forget") modules.delete(message.module);
  else void load(message, body);
}

async function load(
  { id, module, name, limits }: Extract<ToRunner, { readonly type: "load" }>,
  bytes: Uint8Array,
): Promise<void> {
  try {
    const loaded = await engine.load({ bytes, name }, { limits });
    modules.set(module, loaded);
    const { compileMs, imports, exports } = loaded;
    channel.send({ type: "loaded", id, compileMs, imports, exports });
  } catch (thrown) {
    channel.send({ type: "refused", id, failure: toFailure(thrown).toJSON() });
  }
}

async function run(
  message: Extract<ToRunner, { readonly type: "run" }>,
  body: Uint8Array,
): Promise<void> {
  const { id } = message;
  const stop = new AbortController();
  running.set(id, stop);
  try {
    const module = modules.get(message.module);
    if (!module) throw new Failure("internal", `module ${message.module} was never sent`);
    const result = await engine.run(
      module,
      {
        arguments: message.arguments,
        environment: new Map(message.environment),
        stdin: bytesAt(message.stdin, body),
        mounts: message.mounts.map((mount) => mountOf(mount, body)),
        ...(message.preopens ? { preopens: message.preopens } : {}),
        collect: message.collect,
        limits: message.limits,
        ...(message.entry === undefined ? {} : { entry: message.entry }),
      },
      {
        signal: stop.signal,
        ...(message.live
          ? { onOutput: (stream, bytes) => channel.send({ type: "output", id, stream }, [bytes]) }
          : {}),
        ...(message.http ? { http: httpOf(id) } : {}),
        ...(message.streams?.stdin ? { input: bodyOf(id, 0) } : {}),
        ...(message.streams?.stdout ? { pour: pourOf(id) } : {}),
      },
    );
    tell(id, result);
  } catch (thrown) {
    channel.send({ type: "refused", id, failure: toFailure(thrown).toJSON() });
  } finally {
    running.delete(id);
  }
}

function tell(id: number, result: Result): void {
  const { stdout, stderr, usage, limitsReached, collected, ...end } = result;
  const body = new Body();
  const files = new Set<string>();
  const said = collected.map((item) => {
    if (item.kind === "missing") return { kind: "missing" };
    if (item.kind === "file") {
      return { kind: "file", mode: item.mode, content: wireBytes(item.content, body, files) };
    }
    const entries = item.entries.map((entry): WireEntry => {
      if (entry.kind === "directory") return ["d", entry.path, entry.mode];
      if (entry.kind === "symlink") return ["l", entry.path, entry.target];
      return ["f", entry.path, entry.mode, wireBytes(entry.content, body, files)];
    });
    return { kind: "directory", entries };
  });
  if (files.size > 0) written.set(id, files);
  const header = {
    stdout: body.add(stdout),
    stderr: body.add(stderr),
    usage,
    limitsReached,
    end,
    collected: said,
  };
  channel.send({ type: "done", id, result: header }, body.parts);
}

function wireBytes(content: HostBytes, body: Body, files: Set<string>): WireBytes {
  if (content.kind === "bytes") return body.add(content.bytes);
  if (content.path.startsWith(`${writtenFolder}/`)) files.add(content.path);
  return [content.path, content.offset, content.size];
}

/** What the other side has taken over goes; nobody else removes anything where a guest may have been. */
function release(id: number): void {
  const files = written.get(id) ?? [];
  written.delete(id);
  for (const path of files) rmSync(path, { force: true });
  for (const folder of new Set([...files].map((path) => dirname(path)))) {
    try {
      rmdirSync(folder);
    } catch {
      // It holds more than was handed out, and goes with the process.
    }
  }
}

function bytesAt([at, length]: Span, body: Uint8Array): Uint8Array {
  return body.subarray(at, at + length);
}

function mountOf({ path, readOnly, file, entries }: WireMount, body: Uint8Array): Mount {
  if (file) {
    const [mode, content] = file;
    return {
      path,
      readOnly,
      content: { kind: "file", mode, content: hostBytes(content, body) },
    };
  }
  const given = (entries ?? []).map((entry): TreeEntry => {
    if (entry[0] === "d") return { kind: "directory", path: entry[1], mode: entry[2] };
    if (entry[0] === "l") return { kind: "symlink", path: entry[1], target: entry[2] };
    return { kind: "file", path: entry[1], mode: entry[2], content: hostBytes(entry[3], body) };
  });
  return { path, readOnly, content: { kind: "directory", entries: given } };
}

function hostBytes(content: WireBytes, body: Uint8Array): HostBytes {
  if (content.length === 2) return { kind: "bytes", bytes: bytesAt(content, body) };
  const [path, offset, size] = content;
  return { kind: "slice", path, offset, size };
}

/** Asks the process that started this one. */
function ask(
  id: number,
  header: object,
  parts: readonly Uint8Array[] = [],
): Promise<{ readonly answer: Answer; readonly body: Uint8Array }> {
  return new Promise((resolve, reject) => {
    const call = nextCall++;
    calls.set(call, (answer, body) => {
      calls.delete(call);
      if (answer.kind === "failure") reject(failureOf(answer.failure));
      else resolve({ answer, body: new Uint8Array(body) });
    });
    channel.send({ ...header, id, call }, parts);
  });
}

/** What comes piece by piece: a response, or stdin, which has the handle 0. */
function bodyOf(id: number, handle: number): HttpResponse["body"] {
  return {
    async next() {
      const { answer: piece, body: bytes } = await ask(id, { type: "read", handle });
      if (piece.kind === "end") return { done: true, value: undefined };
      return { done: false, value: bytes };
    },
    return() {
      // An answer may have been on its way when the guest ended, and of one that has ended nothing more is said.
      if (running.has(id)) channel.send({ type: "close", id, handle });
      return Promise.resolve({ done: true, value: undefined });
    },
  };
}

/** Hands stdout on; from time to time the other side is asked whether it is done with it. */
function pourOf(id: number): (bytes: Uint8Array) => Promise<void> | undefined {
  let since = 0;
  return (bytes) => {
    channel.send({ type: "output", id, stream: "stdout" }, [bytes]);
    since += bytes.length;
    if (since < pouredBytes) return undefined;
    since = 0;
    return ask(id, { type: "drain" }).then(() => undefined);
  };
}

/** There is no network here. */
function httpOf(id: number): HttpHandler {
  return async ({ body: sent, ...request }) => {
    const { answer } = await ask(id, { type: "send", request }, [sent]);
    if (answer.kind !== "response") throw new Failure("internal", "no response was answered");
    const { handle, status, headers } = answer;
    return { status, headers, body: bodyOf(id, handle) };
  };
}

function failureOf({ code, message, hint }: FailureRecord): Failure {
  return new Failure(code, message, hint === undefined ? {} : { hint });
}

/** The module `(module (func (export "_start")))`. */
const idle = Buffer.from(
  "0061736d0100000001040160000003020100070a01065f737461727400000a040102000b",
  "hex",
);

/** Threads are started and the way through the engine is warm before anybody waits for it. */
async function warmUp(): Promise<void> {
  const module = await engine.load({ bytes: idle, name: "start" });
  const invocation = {
    arguments: ["start"],
    environment: new Map<string, string>(),
    mounts: [],
    collect: [],
    limits: defaultLimits,
  };
  const runs = Array.from({ length: settings.threads }, () => engine.run(module, invocation));
  await Promise.all(runs);
}

await warmUp();
channel.send({ type: "ready" });
