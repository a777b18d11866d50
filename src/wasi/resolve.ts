import { defaultLimits, type Limits } from "../limits/mod.ts";
import { Errno } from "./errno.ts";
import type { DirectoryNode, Node } from "./tree.ts";

/** Longest chain of links that is followed, as on Linux. */
const linkDepth = 40;
/** Longest name in a directory, as on Linux. */
const nameBytes = 255;

interface ResolveOptions {
  /** Whether a link at the end of the path is followed. */
  readonly follow: boolean;
  /** Whether one with `/` after it is, whatever `follow` says; by default it is. */
  readonly followSlash?: boolean;
  readonly limits?: Pick<Limits, "pathBytes" | "pathDepth">;
}

export interface Resolved {
  readonly parent: DirectoryNode;
  /** Last part of the path; `.` when the path names the directory it started from. */
  readonly name: string;
  readonly node: Node | undefined;
  /** The path ended in `/`, or in `.` or `..`, so it must be a directory. */
  readonly directory: boolean;
  /** The path ended in `.` or `..`, which are nobody's names to change. */
  readonly dots: boolean;
}

/**
 * Walks a guest's path from a preopened or opened directory. Nothing leads above that directory: neither `..`, nor an
 * absolute path, nor a link (WASI preview 1, `path_open`: sandboxed resolution).
 */
export function resolvePath(
  base: DirectoryNode,
  path: string,
  { follow, followSlash = true, limits = defaultLimits }: ResolveOptions,
): Resolved {
  if (path === "") throw new Errno("noent");
  if (path.startsWith("/")) throw new Errno("perm");
  if (longer(path, limits.pathBytes)) throw new Errno("nametoolong", "pathLength");
  if (path.includes("\0")) throw new Errno("inval");
  const dots = /(^|\/)\.\.?\/*$/.test(path);
  let directory = dots || path.endsWith("/");
  const todo = path
    .split("/")
    .filter((part) => part !== "")
    .toReversed();
  const deep = todo.reduce((count, part) => count + (part === "." ? 0 : 1), 0);
  if (deep > limits.pathDepth) throw new Errno("nametoolong", "pathDepth");
  const trail: DirectoryNode[] = [base];
  let links = 0;
  for (;;) {
    const at = trail.at(-1) ?? base;
    const part = todo.pop();
    if (part === undefined) {
      const above = trail.at(-2);
      if (above === undefined) return { parent: base, name: ".", node: base, directory, dots };
      return { parent: above, name: nameOf(above, at), node: at, directory, dots };
    }
    if (part === ".") continue;
    if (part === "..") {
      if (trail.length === 1) throw new Errno("perm");
      trail.pop();
      continue;
    }
    if (longer(part, nameBytes)) throw new Errno("nametoolong");
    const node = at.children.get(part);
    const last = todo.length === 0;
    if (node?.kind === "symlink" && (!last || (directory ? followSlash : follow))) {
      if (++links > linkDepth) throw new Errno("loop");
      if (node.target.startsWith("/")) throw new Errno("perm");
      // What a link says of its end is said of the path's.
      if (last && node.target.endsWith("/")) directory = true;
      todo.push(
        ...node.target
          .split("/")
          .filter((step) => step !== "")
          .toReversed(),
      );
      continue;
    }
    if (last) return { parent: at, name: part, node, directory, dots };
    if (node === undefined) throw new Errno("noent");
    if (node.kind !== "directory") throw new Errno("notdir");
    trail.push(node);
  }
}

/** Whether the text has more bytes as UTF-8; most are so short that nobody needs to count. */
function longer(text: string, bytes: number): boolean {
  return text.length * 3 > bytes && Buffer.byteLength(text) > bytes;
}

function nameOf(parent: DirectoryNode, directory: DirectoryNode): string {
  for (const [name, node] of parent.children) if (node === directory) return name;
  return ".";
}
