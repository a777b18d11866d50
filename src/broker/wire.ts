import type { ObjectStore } from "@nats-io/obj";
import { Failure } from "../errors/mod.ts";
import type { Call, Ended } from "../dispatch/mod.ts";

/** The version of what is sent. A runner that does not know one leaves the message to others. */
const version = 1;
/** NATS takes a mebibyte in a message by default; more of it goes to the object store. */
const inlineBytes = 512 * 1024;

/** A call on its way. */
export interface Sent {
  readonly version: number;
  readonly call: Call;
  /** Where the front end hears of the outcome. */
  readonly notice: string;
  /** Subjects where the front end gives the rest of the input, and takes the result piece by piece. */
  readonly input?: string;
  readonly output?: string;
}

/** Frames: a length of JSON, the JSON, and bytes. */
export async function packCall(
  sent: Omit<Sent, "version">,
  bodies: ObjectStore,
): Promise<Uint8Array> {
  const { call, ...rest } = sent;
  const { input, ...plain } = call;
  const hasInput = input !== undefined;
  if (!input || input.length <= inlineBytes) {
    return frame({ version, ...rest, call: plain, hasInput }, input ?? nothing);
  }
  const body = `call.${call.owner}.${call.id}`;
  await bodies.putBlob({ name: body }, input);
  return frame({ version, ...rest, call: plain, hasInput, body }, nothing);
}

/** Throws for what is none of ours, and `undefined` for a version that is not known. */
export async function unpackCall(
  bytes: Uint8Array,
  bodies: ObjectStore,
): Promise<Sent | undefined> {
  const { said, rest } = unframe(bytes);
  if (said["version"] !== version) return undefined;
  const { call, hasInput, body, ...about } = said;
  if (typeof call !== "object" || call === null) throw foreign();
  const input = typeof body === "string" ? await bodies.getBlob(body) : rest;
  if (input === null) throw new Failure("storage", `The input "${String(body)}" of a call is gone`);
  const whole = hasInput === true ? { ...call, input } : call;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- whoever may write to the stream is one of ours
  return { ...about, call: whole } as unknown as Sent;
}

/** An outcome on its way, with what tells whether it is that of the call that is asked for. */
export interface Answered {
  readonly ended: Ended;
  readonly fingerprint?: string;
  readonly target: string;
  readonly function: string;
  readonly createdAt: string;
}

export async function packAnswer(
  { ended, ...about }: Answered,
  { owner, id }: Pick<Call, "owner" | "id">,
  bodies: ObjectStore,
): Promise<Uint8Array> {
  const { outcome, log, ...rest } = ended;
  const body = outcome.kind === "returned" ? outcome.body : nothing;
  const plain = outcome.kind === "returned" ? { kind: outcome.kind, type: outcome.type } : outcome;
  const said = { version, ...about, ended: { ...rest, outcome: plain }, logBytes: log.length };
  if (body.length + log.length <= inlineBytes) return frame(said, Buffer.concat([log, body]));
  // Each attempt has a name of its own: what is stored under one never changes.
  const name = `answer.${owner}.${id}.${crypto.randomUUID()}`;
  await bodies.putBlob({ name }, body);
  return frame({ ...said, body: name }, log);
}

export async function unpackAnswer(bytes: Uint8Array, bodies: ObjectStore): Promise<Answered> {
  const { said, rest } = unframe(bytes);
  const { ended, logBytes, body: name, ...about } = said;
  if (typeof ended !== "object" || ended === null || typeof logBytes !== "number") throw foreign();
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- whoever may write to the stream is one of ours
  const plain = ended as Ended;
  const log = new Uint8Array(rest.subarray(0, logBytes));
  const body =
    typeof name === "string" ? await bodies.getBlob(name) : new Uint8Array(rest.subarray(logBytes));
  if (body === null) throw new Failure("storage", `The result "${String(name)}" of a call is gone`);
  const outcome = plain.outcome.kind === "returned" ? { ...plain.outcome, body } : plain.outcome;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as above
  return { ...about, ended: { ...plain, outcome, log } } as unknown as Answered;
}

function frame(said: object, bytes: Uint8Array): Uint8Array {
  const text = Buffer.from(JSON.stringify(said));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  return Buffer.concat([length, text, bytes]);
}

function unframe(bytes: Uint8Array): {
  readonly said: Readonly<Record<string, unknown>>;
  readonly rest: Uint8Array;
} {
  if (bytes.length < 4) throw foreign();
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = 4 + view.readUInt32LE(0);
  if (end > view.length) throw foreign();
  const said: unknown = JSON.parse(view.toString("utf8", 4, end));
  if (typeof said !== "object" || said === null) throw foreign();
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an object of JSON
  return { said: said as Readonly<Record<string, unknown>>, rest: view.subarray(end) };
}

function foreign(): Failure {
  return new Failure("internal", "A message on the stream of calls is none of ours");
}

const nothing = new Uint8Array(0);
