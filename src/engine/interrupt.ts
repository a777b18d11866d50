import { Session } from "node:inspector";

export interface Interruption extends Disposable {
  /** Gives the order once more. */
  readonly again: () => void;
}

/**
 * Ends what a thread of ours is executing and leaves the thread alive, so that guests which are parked on it keep their stacks.
 * V8 offers that to debuggers only (`Runtime.terminateExecution`), and Node hands it on to threads. Nothing listens on a
 * port: the session lives in this process. `name` is the one that the thread was started with.
 *
 * An idle thread keeps the order for whatever it executes next. So nothing that matters may be sent to it before `onDone`
 * says that an order was carried out. Disposing closes the session; `undefined` where Node has no debugger for threads.
 */
export function interrupt(name: string, onDone: () => void): Interruption | undefined {
  try {
    const session = new Session();
    session.connect();
    let order: (() => void) | undefined;
    session.on("NodeWorker.attachedToWorker", ({ params }) => {
      // The debugger counts workers in its own way; the title holds the name that the thread was started with.
      if (!params.workerInfo.title.endsWith(` ${name}`)) return;
      const { sessionId } = params;
      session.on("NodeWorker.receivedMessageFromWorker", (answer) => {
        // We send nothing else, so whatever comes is an answer.
        if (answer.params.sessionId === sessionId) onDone();
      });
      let id = 0;
      order = () => {
        const message = JSON.stringify({ id: ++id, method: "Runtime.terminateExecution" });
        session.post("NodeWorker.sendMessageToWorker", { sessionId, message });
      };
      order();
    });
    session.post("NodeWorker.enable", { waitForDebuggerOnStart: false });
    return { again: () => order?.(), [Symbol.dispose]: () => session.disconnect() };
  } catch {
    return undefined;
  }
}
