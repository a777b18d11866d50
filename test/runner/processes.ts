import { readFileSync } from "node:fs";

/** The process of ours behind those that put up its walls: the last one in the line. On other systems than Linux there are none. */
export function nodeOf(pid: number): number {
  let last = pid;
  for (;;) {
    let children = "";
    try {
      children = readFileSync(`/proc/${last}/task/${last}/children`, "utf8");
    } catch {
      return last;
    }
    const [child] = children.trim().split(" ");
    if (child === undefined || child === "") return last;
    last = Number(child);
  }
}
