import { Errno } from "../errno.ts";
import type { Calls, Sandbox } from "../sandbox.ts";

/** No guest ever has a socket: preview 1 cannot open one, and none is handed over. */
export function socketCalls({ table }: Sandbox): Calls {
  const refuse = (fd: number): never => {
    table.find(fd);
    throw new Errno("notsock");
  };
  return { sock_accept: refuse, sock_recv: refuse, sock_send: refuse, sock_shutdown: refuse };
}
