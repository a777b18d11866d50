import type { RunNode } from "./plan/mod.ts";

type Usage = NonNullable<RunNode["usage"]>;

/** What all modules of a run took together; the memory is that of the one with most. Nothing where no module ran. */
export function usageSum(nodes: Iterable<RunNode>): Usage | undefined {
  let sum: Usage | undefined;
  for (const { usage } of nodes) {
    if (!usage) continue;
    sum = sum ? added(sum, usage) : usage;
  }
  return sum;
}

type HostUsage = NonNullable<Usage["http"]>[number];

/** Each host once. */
function hosts(all: readonly HostUsage[]): readonly HostUsage[] {
  const sums = new Map<string, HostUsage>();
  for (const one of all) {
    const { host } = one;
    const other = sums.get(host) ?? { host, requests: 0, sentBytes: 0, receivedBytes: 0 };
    sums.set(host, {
      host,
      requests: other.requests + one.requests,
      sentBytes: other.sentBytes + one.sentBytes,
      receivedBytes: other.receivedBytes + one.receivedBytes,
    });
  }
  return [...sums.values()];
}

function added(one: Usage, other: Usage): Usage {
  return {
    cpuMs: one.cpuMs + other.cpuMs,
    wallMs: one.wallMs + other.wallMs,
    memoryBytes: Math.max(one.memoryBytes, other.memoryBytes),
    filesCreated: one.filesCreated + other.filesCreated,
    filesBytesWritten: one.filesBytesWritten + other.filesBytesWritten,
    ...(one.http || other.http
      ? { http: hosts([...(one.http ?? []), ...(other.http ?? [])]) }
      : {}),
  };
}
