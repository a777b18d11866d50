import { Errno } from "../errno.ts";
import { changeable, follows, takesNames } from "../paths.ts";
import { resolvePath } from "../resolve.ts";
import { asRights, inherited, right } from "../rights.ts";
import type { Calls, Sandbox } from "../sandbox.ts";
import { demand, type OpenDirectory } from "../table.ts";
import { touch } from "../tree.ts";

const oflags = { create: 1, directory: 2, exclusive: 4, truncate: 8, all: 15 } as const;
const allFlags = 31;

/** `path_open`. */
export function openCalls({ memory, table, world: { tree, limits } }: Sandbox): Calls {
  const from = (fd: number): OpenDirectory => {
    const found = table.find(fd);
    if (found.kind === "directory") return found;
    throw new Errno(found.kind === "file" ? "notdir" : "badf");
  };
  return {
    path_open(
      fd: number,
      lookup: number,
      pointer: number,
      length: number,
      how: number,
      asked: bigint,
      _inheriting: bigint,
      flags: number,
      opened: number,
    ) {
      memory.at(opened, 4);
      if ((how & ~oflags.all) !== 0 || (flags & ~allFlags) !== 0) throw new Errno("inval");
      const create = (how & oflags.create) !== 0;
      const exclusive = create && (how & oflags.exclusive) !== 0;
      const truncate = (how & oflags.truncate) !== 0;
      const mustBeDirectory = (how & oflags.directory) !== 0;
      if (mustBeDirectory && how !== oflags.directory) throw new Errno("inval");
      // Go and Zig ask for every right also of what they only read, so the two that say how it is opened are all that counts.
      // What is opened neither to read nor to write can be read, as in wasmtime.
      const rights = asRights(asked);
      const write = (rights & right.write) !== 0;
      const read = (rights & right.read) !== 0 || !write;
      const path = memory.text(pointer, length);
      const directory = from(fd);
      demand(directory, right.open);
      const { inheriting } = directory.rights;
      const denied = rights & (right.read | right.write) & ~inheriting;
      if (denied !== 0 || (truncate && (inheriting & right.setSize) === 0)) {
        throw new Errno("notcapable");
      }
      const found = resolvePath(directory.node, path, {
        follow: follows(lookup) && !exclusive,
        followSlash: !create,
        limits,
      });
      let { node } = found;
      // A file cannot be made at a name that says it is a directory, whatever is there.
      if (create && found.directory && !found.dots) throw new Errno("isdir");
      if (node && exclusive) throw new Errno("exist");
      if (node?.kind === "symlink") throw new Errno("loop");
      if (!node) {
        if (!create) throw new Errno("noent");
        takesNames(found.parent);
        demand(directory, right.createFile);
        table.makeRoom();
        node = tree.createFile(found.parent, found.name);
      }
      if (node.kind === "directory") {
        if (create || truncate || write) throw new Errno("isdir");
        const kind = "directory";
        memory.put32(opened, table.add({ kind, node, rights: inherited(directory.rights, kind) }));
        return;
      }
      if (mustBeDirectory || found.directory) throw new Errno("notdir");
      if (write || truncate) changeable(found.parent, node);
      const file = inherited(directory.rights, "file");
      const given = { kind: "file", node, position: 0, flags, write, read, rights: file } as const;
      const number = table.add({ ...given });
      if (truncate) {
        tree.resize(node, 0);
        touch(node);
      }
      memory.put32(opened, number);
    },
  };
}
