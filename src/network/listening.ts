import type { Server } from "node:http";
import { Failure } from "../errors/mod.ts";

/** Lets a server listen. Rejects with `invalid-argument` when the address cannot be had; the hint says how to name another one. */
export async function listening(
  server: Server,
  { host, port, hint }: { readonly host: string; readonly port: number; readonly hint: string },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", (cause) => {
    const message = `Cannot listen at ${host}:${port}: ${cause.message}`;
    reject(new Failure("invalid-argument", message, { cause, hint }));
  });
  server.listen(port, host, () => resolve());
  await promise;
}
