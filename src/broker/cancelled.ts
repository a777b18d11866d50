import { Failure } from "../errors/mod.ts";
import type { Call } from "../dispatch/mod.ts";
import { answerSubject, codeOf, noticeSubject, type Broker } from "./connection.ts";
import { mostOfSubject } from "./runner.ts";
import { packAnswer } from "./wire.ts";

/** Writes down that a call was cancelled, unless it has its outcome. */
export async function cancelled(broker: Broker, call: Call): Promise<void> {
  const { target, function: called, fingerprint, owner, id } = call;
  const failure = new Failure("aborted", "The call was cancelled").toJSON();
  const ended = {
    outcome: { kind: "failed", failure } as const,
    log: new Uint8Array(0),
    usage: { cold: false, loadMs: 0, runMs: 0, cpuMs: 0, memoryBytes: 0 },
    attempts: 0,
    queueMs: 0,
    repeated: false,
  };
  const about = { ended, target, function: called, createdAt: new Date().toISOString() };
  const bytes = await packAnswer(
    fingerprint === undefined ? about : { ...about, fingerprint },
    call,
    broker.bodies,
  );
  try {
    await broker.stream.publish(answerSubject(owner, id), bytes, { timeout: 3000 });
    broker.connection.publish(noticeSubject(owner, id), bytes);
  } catch (thrown) {
    if (codeOf(thrown) !== mostOfSubject) throw thrown;
  }
}
