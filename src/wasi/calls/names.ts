import { Errno } from "../errno.ts";
import { changeable, existing, pathsOf, takesNames } from "../paths.ts";
import type { Resolved } from "../resolve.ts";
import { right } from "../rights.ts";
import type { Calls, Sandbox } from "../sandbox.ts";
import { touch, type DirectoryNode, type Node } from "../tree.ts";

/** Changing the names in directories: making, linking, moving and removing. */
export function nameCalls(sandbox: Sandbox): Calls {
  const { memory, table, world } = sandbox;
  const { tree, limits } = world;
  const { given, look, change } = pathsOf(sandbox);
  const remove = ({ parent, name }: Resolved, node: Node): void => {
    parent.children.delete(name);
    touch(parent);
    table.unlinked(node);
  };
  return {
    path_create_directory(fd: number, pointer: number, length: number) {
      const { parent, name, node } = change(given(fd, pointer, length, right.createDirectory));
      if (node) throw new Errno("exist");
      takesNames(parent);
      tree.createDirectory(parent, name);
    },
    path_link(
      fd: number,
      flags: number,
      pointer: number,
      length: number,
      newFd: number,
      newPointer: number,
      newLength: number,
    ) {
      // Both descriptors are looked at before either path.
      table.directory(fd, right.linkSource);
      const target = given(newFd, newPointer, newLength, right.linkTarget);
      const source = given(fd, pointer, length, right.linkSource);
      const node = existing(look(source, flags));
      const to = look(target, 0);
      refuseExisting(to);
      if (to.directory) throw new Errno("noent");
      if (node.kind === "directory") throw new Errno("perm");
      takesNames(to.parent);
      // Or a read-only file would be seen, and count, among those that are not.
      if (node.readOnly) throw new Errno("perm");
      tree.link(to.parent, to.name, node);
    },
    path_remove_directory(fd: number, pointer: number, length: number) {
      const found = change(given(fd, pointer, length, right.removeDirectory));
      const { parent, node, dots } = found;
      if (!node) throw new Errno("noent");
      if (dots) throw new Errno("inval");
      if (node.kind !== "directory") throw new Errno("notdir");
      changeable(parent, node);
      if (node.children.size > 0) throw new Errno("notempty");
      remove(found, node);
    },
    path_rename(
      fd: number,
      pointer: number,
      length: number,
      newFd: number,
      newPointer: number,
      newLength: number,
    ) {
      // Both descriptors are looked at before either path.
      table.directory(fd, right.renameSource);
      const target = given(newFd, newPointer, newLength, right.renameTarget);
      const source = given(fd, pointer, length, right.renameSource);
      const from = change(source);
      const to = change(target);
      if (from.dots || to.dots) throw new Errno("busy");
      const { node } = from;
      if (!node) throw new Errno("noent");
      if (node.kind !== "directory" && (from.directory || to.directory)) throw new Errno("notdir");
      changeable(from.parent, node);
      changeable(to.parent, to.node);
      takesNames(to.parent);
      if (node === to.node) return;
      checkOver(node, from.parent, to);
      if (node.kind === "directory") tree.moveTo(node, to.parent);
      from.parent.children.delete(from.name);
      to.parent.children.set(to.name, node);
      touch(from.parent);
      touch(to.parent);
      node.changed = to.parent.changed;
      if (to.node) table.unlinked(to.node);
    },
    path_symlink(
      pointer: number,
      length: number,
      fd: number,
      newPointer: number,
      newLength: number,
    ) {
      const path = given(fd, newPointer, newLength, right.symlink);
      const target = memory.text(pointer, length);
      // It could never be followed: nothing leads to the root of a guest's own paths.
      if (target.startsWith("/")) throw new Errno("perm");
      const to = look(path, 0);
      if (target.includes("\0")) throw new Errno("inval");
      if (target === "") throw new Errno("noent");
      if (length >>> 0 > limits.pathBytes) throw new Errno("nametoolong", "pathLength");
      refuseExisting(to);
      if (to.directory) throw new Errno("noent");
      takesNames(to.parent);
      tree.createLink(to.parent, to.name, target);
    },
    path_unlink_file(fd: number, pointer: number, length: number) {
      const found = look(given(fd, pointer, length, right.unlink), 0);
      const { parent, node, directory } = found;
      if (!node) throw new Errno("noent");
      if (node.kind === "directory") throw new Errno("isdir");
      if (directory) throw new Errno("notdir");
      changeable(parent, node);
      remove(found, node);
    },
  };
}

/** A new name must not be there; one that says it is a directory must not be a file's either. */
function refuseExisting({ node, directory }: Resolved): void {
  if (!node) return;
  throw new Errno(directory && node.kind !== "directory" ? "notdir" : "exist");
}

/** Throws where something may not take the place of something else. */
function checkOver(node: Node, parent: DirectoryNode, to: Resolved): void {
  const over = to.node;
  if (node.kind === "directory" && isWithin(to.parent, node)) throw new Errno("inval");
  if (over?.kind === "directory" && isWithin(parent, over)) throw new Errno("notempty");
  if (!over) return;
  if (node.kind === "directory") {
    if (over.kind !== "directory") throw new Errno("notdir");
    if (over.children.size > 0) throw new Errno("notempty");
  } else if (over.kind === "directory") throw new Errno("isdir");
}

function isWithin(inner: DirectoryNode, outer: DirectoryNode): boolean {
  for (let up = inner; ; up = up.parent) {
    if (up === outer) return true;
    if (up === up.parent) return false;
  }
}
