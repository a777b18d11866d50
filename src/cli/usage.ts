import type { RunNode } from "../workflow/mod.ts";
import { bytes, counted, duration } from "./format.ts";
import { oneLine } from "./text.ts";

type Usage = NonNullable<RunNode["usage"]>;

/** Usage for people; what is zero is left out, which is also what is not known of a module that was ended from outside. */
export function usageText(usage: Usage): string {
  const { cpuMs, wallMs, memoryBytes, filesCreated, filesBytesWritten, http = [] } = usage;
  return [
    ...(cpuMs === 0 ? [] : [`${duration(cpuMs)} CPU`]),
    `${duration(wallMs)} wall`,
    ...(memoryBytes === 0 ? [] : [`${bytes(memoryBytes)} memory`]),
    ...(filesCreated === 0 ? [] : [counted(filesCreated, "file")]),
    ...(filesBytesWritten === 0 ? [] : [`${bytes(filesBytesWritten)} written`]),
    ...http.map(
      ({ host, requests, sentBytes, receivedBytes }) =>
        `${counted(requests, "request")} to ${oneLine(host)} (${bytes(sentBytes)} out, ${bytes(receivedBytes)} in)`,
    ),
  ].join(", ");
}
