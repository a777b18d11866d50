import { Failure } from "../errors/mod.ts";

/**
 * How far a guest is kept from others, the weakest first. `thread`: in this process, on a thread. `process`: in a process of
 * its owner's, which holds nothing else. `pod`: in a pod of its owner's, which needs a cluster.
 */
export type Trust = "thread" | "process" | "pod";

export const trustClasses: readonly Trust[] = ["thread", "process", "pod"];

/** The strongest of the classes; those that are absent ask for nothing. */
export function strongest(...asked: readonly (Trust | undefined)[]): Trust {
  const found = trustClasses.findLast((trust) => asked.includes(trust));
  return found ?? "thread";
}

/** Reads the name of a class; `where` is what messages call the place of it. */
export function parseTrust(text: unknown, where: string): Trust {
  const found = trustClasses.find((trust) => trust === text);
  if (found) return found;
  throw new Failure("invalid-argument", `${where} "${String(text)}" is no trust class`, {
    hint: `Write one of ${trustClasses.join(", ")}.`,
  });
}
