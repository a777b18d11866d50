import type { Collected, TreeEntry } from "./mod.ts";
import type { DirectoryNode, Tree } from "./tree.ts";
import { Errno } from "./errno.ts";
import { resolvePath } from "./resolve.ts";

/** Takes what lies at an absolute path of the tree, unchanged host bytes by reference. */
export function collectPath(tree: Tree, path: string): Collected {
  let node;
  try {
    ({ node } = resolvePath(tree.root, `.${path}`, true));
  } catch (thrown) {
    if (!(thrown instanceof Errno)) throw thrown;
  }
  if (!node || node.kind === "symlink") return { path, kind: "missing" };
  if (node.kind === "file")
    return { path, kind: "file", mode: node.mode, content: tree.handOut(node) };
  const entries: TreeEntry[] = [];
  walk(tree, node, "", entries);
  return { path, kind: "directory", entries };
}

function walk(tree: Tree, directory: DirectoryNode, prefix: string, into: TreeEntry[]): void {
  for (const [name, node] of directory.children) {
    const path = prefix + name;
    if (node.kind === "symlink") into.push({ kind: "symlink", path, target: node.target });
    else if (node.kind === "file") {
      into.push({ kind: "file", path, mode: node.mode, content: tree.handOut(node) });
    } else {
      into.push({ kind: "directory", path, mode: node.mode });
      walk(tree, node, `${path}/`, into);
    }
  }
}
