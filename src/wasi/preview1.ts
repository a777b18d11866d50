import { dataCalls } from "./calls/data.ts";
import { descriptorCalls } from "./calls/descriptor.ts";
import { directoryCalls } from "./calls/directory.ts";
import { nameCalls } from "./calls/names.ts";
import { openCalls } from "./calls/open.ts";
import { pathCalls } from "./calls/path.ts";
import { pollCall } from "./calls/poll.ts";
import { processCalls } from "./calls/process.ts";
import { socketCalls } from "./calls/socket.ts";
import { Errno, errno } from "./errno.ts";
import { GuestMemory } from "./memory.ts";
import { resolvePath } from "./resolve.ts";
import type { Sandbox, World } from "./sandbox.ts";
import { Table } from "./table.ts";

/** Thrown by `proc_exit`, to leave the guest's stack. */
export class Exit extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super(`exit ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** The imports `wasi_snapshot_preview1` of one sandbox; `attach` gives them the guest's memory. */
export function preview1(world: World): {
  readonly imports: Record<string, WebAssembly.ImportValue>;
  readonly attach: (memory: WebAssembly.Memory) => void;
  /** What ended the guest in one of our calls, as something with one field. */
  readonly ended: () => { readonly thrown: unknown } | undefined;
} {
  const memory = new GuestMemory();
  const table = new Table(world.tree, world.limits);
  for (const path of world.preopens) {
    const { node } = resolvePath(world.tree.root, `.${path}`, { follow: true });
    if (node?.kind === "directory") table.preopen(node, path);
  }
  const sandbox: Sandbox = { world, memory, table };
  let ended: { readonly thrown: unknown } | undefined;
  /** A guest may catch what we throw (`catch_all`), but it gets no further call after that. */
  const end = (thrown: unknown): never => {
    ended ??= { thrown };
    throw ended.thrown;
  };
  const answer = (thrown: unknown): number => {
    if (thrown instanceof Errno && thrown.limit) world.reached?.(thrown.limit);
    return answerOf(thrown) ?? end(thrown);
  };
  const { wanted } = world;
  const streamed = world.more !== undefined || world.pours === true;
  const imports: Record<string, WebAssembly.ImportValue> = Object.create(null);
  for (const group of [
    processCalls,
    descriptorCalls,
    dataCalls,
    directoryCalls,
    openCalls,
    pathCalls,
    nameCalls,
    socketCalls,
  ]) {
    for (const [name, call] of Object.entries(group(sandbox))) {
      if (wanted && !wanted.has(name)) continue;
      // WebAssembly calls with numbers and bigints of the declared signature; a module that declares another one gets what it asked for.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- WebAssembly converts to the types that the signature declares
      const body = call as (...parameters: unknown[]) => void | Promise<void>;
      const called = (...parameters: unknown[]): number | Promise<number> => {
        if (ended) throw ended.thrown;
        memory.refresh();
        try {
          const waited = body(...parameters);
          return waited ? waited.then(() => errno.success, answer) : errno.success;
        } catch (thrown) {
          return answer(thrown);
        }
      };
      const waits = streamed && (name === "fd_read" || name === "fd_write");
      imports[name] = waits ? new WebAssembly.Suspending(called) : called;
    }
  }
  const poll = pollCall(sandbox);
  const pollOneoff = (...parameters: Parameters<typeof poll>): number | Promise<number> => {
    if (ended) throw ended.thrown;
    memory.refresh();
    try {
      return poll(...parameters);
    } catch (thrown) {
      return answer(thrown);
    }
  };
  imports["poll_oneoff"] = world.park ? new WebAssembly.Suspending(pollOneoff) : pollOneoff;
  // Another signature may give something else than a number here.
  imports["proc_exit"] = (code: unknown): never => end(new Exit(Number(code) >>> 0));
  return { imports, attach: (given) => memory.attach(given), ended: () => ended };
}

/** What the guest gets for something thrown on the way; undefined for what is no answer but the guest's end. */
function answerOf(thrown: unknown): number | undefined {
  if (thrown instanceof Errno) return thrown.number;
  // The guest's own recursion ended in our frame: that is its trap and no errno.
  if (thrown instanceof RangeError && thrown.message.includes("call stack")) return undefined;
  if (thrown instanceof RangeError || thrown instanceof TypeError) return errno.inval;
  if (isHostError(thrown)) return thrown.code === "ENOSPC" ? errno.nospc : errno.io;
  return undefined;
}

function isHostError(thrown: unknown): thrown is Error & { readonly code: string } {
  return (
    thrown instanceof Error &&
    "code" in thrown &&
    typeof thrown.code === "string" &&
    "syscall" in thrown
  );
}
