import { Failure } from "../errors/mod.ts";
import { shown, type Target } from "./target.ts";

export const responseHeaderBytes: number = 64 * 1024;
export const responseHeaderCount = 500;
/** Heads before the one that counts (100, 102, 103), of which a guest sees nothing. */
export const interimHeads = 10;

/** What went wrong below us, in words and without addresses. */
export function toNetworkFailure(thrown: unknown, target: Target): Failure {
  if (thrown instanceof Failure) return thrown;
  const { reason, untrusted } = connectionProblem(thrown);
  return new Failure(
    "network-failed",
    `${shown(target)} failed: ${reason}`,
    untrusted
      ? { hint: "Is its authority named under permissions.http.caFile of the file for --config?" }
      : {},
  );
}

/** What kept a connection from being made or broke it, in words. */
export interface ConnectionProblem {
  readonly reason: string;
  /** The certificate or the TLS of the other side is not accepted. */
  readonly tls: boolean;
  /** Nobody we trust vouches for the certificate. */
  readonly untrusted: boolean;
}

/** Puts an error of Node's sockets and HTTP client into words. */
export function connectionProblem(thrown: unknown): ConnectionProblem {
  const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const known =
    words.get(code) ??
    (code.startsWith("HPE_") ? `it does not speak HTTP/1.1: ${message}` : undefined);
  const tls = known === undefined && /CERT|SELF_SIGNED|UNABLE_TO|TLS|SSL|EPROTO/.test(code);
  return {
    reason:
      known ?? (tls ? `its certificate or its TLS is not accepted (${code})` : code || message),
    tls,
    untrusted: /SELF_SIGNED|UNABLE_TO/.test(code),
  };
}

const words: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "the connection was refused"],
  ["ECONNRESET", "the connection was cut off"],
  ["EPIPE", "the connection was cut off"],
  ["ENETUNREACH", "the network cannot be reached"],
  ["EHOSTUNREACH", "the host cannot be reached"],
  ["ETIMEDOUT", "the connection took too long"],
  ["ENOTFOUND", "there is no host of this name"],
  ["EAI_AGAIN", "the name server did not answer"],
  ["HPE_HEADER_OVERFLOW", `its headers have more than ${responseHeaderBytes} bytes`],
]);
