import { Session } from "node:inspector";

/**
 * Ends what a thread of ours is executing and leaves the thread alive, so that guests which are parked on it keep their stacks.
 * V8 offers that to debuggers only (`Runtime.terminateExecution`), and Node hands it on to threads. Nothing listens on a
 * port: the session lives in this process. Disposing closes it; `undefined` where Node has no debugger for threads.
 */
export function interrupt(threadId: number): Disposable | undefined {
  try {
    const session = new Session();
    session.connect();
    session.on("NodeWorker.attachedToWorker", ({ params }) => {
      if (params.workerInfo.workerId !== String(threadId)) return;
      session.post("NodeWorker.sendMessageToWorker", {
        sessionId: params.sessionId,
        message: JSON.stringify({ id: 1, method: "Runtime.terminateExecution" }),
      });
    });
    session.post("NodeWorker.enable", { waitForDebuggerOnStart: false });
    return { [Symbol.dispose]: () => session.disconnect() };
  } catch {
    return undefined;
  }
}
