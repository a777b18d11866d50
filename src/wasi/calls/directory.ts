import { Errno } from "../errno.ts";
import { readOffset } from "../offset.ts";
import { right } from "../rights.ts";
import type { Calls, Sandbox } from "../sandbox.ts";
import { filetypes } from "../stat.ts";
import type { OpenDirectory } from "../table.ts";
import type { Node } from "../tree.ts";

/** `.` and `..` come before the names. */
const dots = 2;
const headBytes = 24;

/** Reading of directories. */
export function directoryCalls({ memory, table }: Sandbox): Calls {
  const entryAt = ({ node, preopen }: OpenDirectory, names: readonly string[], index: number) => {
    if (index === 0) return { name: ".", node };
    // What lies above a preopen is none of the guest's.
    if (index === 1) return { name: "..", node: preopen === undefined ? node.parent : node };
    const name = names[index - dots] ?? "";
    return { name, node: node.children.get(name) };
  };
  return {
    fd_readdir(fd: number, pointer: number, length: number, cookie: bigint, done: number) {
      const open = table.directory(fd, right.readdir);
      const room = memory.slice(pointer, length);
      memory.at(done, 4);
      // A cookie is a place among the names as they were when reading began, so it holds while the directory changes. What was
      // removed since is left out, and what came since is for the next reading.
      if (cookie === 0n || !open.names) {
        if (!table.mayList(open)) throw new Errno("nomem");
        open.names = [...open.node.children.keys()];
      }
      const end = open.names.length + dots;
      let used = 0;
      let index = readOffset(BigInt.asUintN(64, cookie));
      for (; index < end && used < room.length; index++) {
        const { name, node } = entryAt(open, open.names, index);
        if (!node) continue;
        const part = encode(name, node, index + 1).subarray(0, room.length - used);
        room.set(part, used);
        used += part.length;
      }
      memory.put32(done, used);
    },
  };
}

/** A `dirent` and the name behind it. */
function encode(name: string, node: Node, next: number): Uint8Array {
  const size = Buffer.byteLength(name);
  const entry = Buffer.alloc(headBytes + size);
  entry.writeBigUInt64LE(BigInt(next), 0);
  entry.writeBigUInt64LE(BigInt(node.id), 8);
  entry.writeUInt32LE(size, 16);
  entry.writeUInt8(filetypes[node.kind], 20);
  entry.write(name, headBytes);
  return entry;
}
