import { Errno } from "../errno.ts";
import { fileOffset } from "../offset.ts";
import type { Calls, Sandbox } from "../sandbox.ts";
import { filetypes } from "../stat.ts";

/** Reading of directories. */
export function directoryCalls({ memory, table }: Sandbox): Calls {
  return {
    fd_readdir(fd: number, pointer: number, length: number, cookie: bigint, done: number) {
      const open = table.directory(fd);
      // The listing is taken when reading begins, so that cookies hold while the directory changes.
      if (cookie === 0n || !open.listing) {
        if (!table.mayList(open)) throw new Errno("nomem");
        open.listing = [[".", open.node], ["..", open.node.parent], ...open.node.children];
      }
      const room = memory.slice(pointer, length);
      memory.at(done, 4);
      let used = 0;
      for (
        let index = fileOffset(cookie);
        index < open.listing.length && used < room.length;
        index++
      ) {
        const [name, node] = open.listing[index] ?? [".", open.node];
        const nameBytes = Buffer.from(name);
        const entry = Buffer.alloc(24 + nameBytes.length);
        entry.writeBigUInt64LE(BigInt(index + 1), 0);
        entry.writeBigUInt64LE(BigInt(node.id), 8);
        entry.writeUInt32LE(nameBytes.length, 16);
        entry.writeUInt8(filetypes[node.kind], 20);
        nameBytes.copy(entry, 24);
        const part = entry.subarray(0, room.length - used);
        room.set(part, used);
        used += part.length;
      }
      memory.put32(done, used);
    },
  };
}
