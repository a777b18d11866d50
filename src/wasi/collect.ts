import { Failure } from "../errors/mod.ts";
import { Errno } from "./errno.ts";
import type { Collected, HostBytes, TreeEntry } from "./mod.ts";
import { resolvePath } from "./resolve.ts";
import type { DirectoryNode, FileNode, Tree } from "./tree.ts";

/** No path may be longer than the host's. */
const pathBytes = 4096;
/** Bytes that the paths of all that is handed out may have together: folders in folders repeat the names above them. */
const allPathBytes = 64 * 1024 * 1024;

/**
 * Takes out of a tree what a guest left. Where it goes, no path may be longer than a system's, and files with several names
 * become several files; so both have a ceiling here. Throws `output-too-large`.
 */
export class Collector {
  readonly #tree: Tree;
  readonly #taken = new Map<FileNode, HostBytes>();
  #pathRoom = allPathBytes;
  #copyRoom: number;

  /** `copyBytes`: what second and later names of files may add. */
  constructor(tree: Tree, copyBytes: number) {
    this.#tree = tree;
    this.#copyRoom = copyBytes;
  }

  /** What lies at an absolute path of the tree, unchanged host bytes by reference. */
  take(path: string): Collected {
    let node;
    try {
      ({ node } = resolvePath(this.#tree.root, `.${path}`, { follow: true }));
    } catch (thrown) {
      if (!(thrown instanceof Errno)) throw thrown;
    }
    if (!node || node.kind === "symlink") return { path, kind: "missing" };
    if (node.kind === "file")
      return { path, kind: "file", mode: node.mode, content: this.#contentOf(node, path) };
    const entries: TreeEntry[] = [];
    this.#walk(node, "", entries);
    return { path, kind: "directory", entries };
  }

  #walk(directory: DirectoryNode, prefix: string, into: TreeEntry[]): void {
    for (const [name, node] of directory.children) {
      const path = prefix + name;
      this.#count(path);
      if (node.kind === "symlink") into.push({ kind: "symlink", path, target: node.target });
      else if (node.kind === "file") {
        into.push({ kind: "file", path, mode: node.mode, content: this.#contentOf(node, path) });
      } else {
        into.push({ kind: "directory", path, mode: node.mode });
        this.#walk(node, `${path}/`, into);
      }
    }
  }

  #count(path: string): void {
    const size = Buffer.byteLength(path);
    if (size > pathBytes) {
      throw tooLarge(
        `The path "${path.slice(0, 60)}…" has more than ${pathBytes} bytes`,
        "Do not put so many folders into each other.",
      );
    }
    this.#pathRoom -= size;
    if (this.#pathRoom < 0) {
      throw tooLarge(
        `The paths of what was written have more than ${allPathBytes} bytes together`,
        "Write fewer files, or shorter names; or pack them into one file.",
      );
    }
  }

  #contentOf(file: FileNode, path: string): HostBytes {
    const known = this.#taken.get(file);
    if (known) {
      this.#copyRoom -= file.size;
      if (this.#copyRoom >= 0) return known;
      throw tooLarge(
        `"${path.slice(-60)}" and other further names of files add more bytes than limits.files allows`,
        "Make fewer hard links: each becomes a file of its own. Or raise limits.files.",
      );
    }
    const content = this.#tree.handOut(file);
    this.#taken.set(file, content);
    return content;
  }
}

function tooLarge(message: string, hint: string): Failure {
  return new Failure("output-too-large", message, { hint });
}
