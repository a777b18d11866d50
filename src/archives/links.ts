/**
 * Whether a link at `path` (relative, in a tree whose folders are no links) can only lead to what is in the tree. `..` is
 * understood at the beginning alone: behind a name it would mean something else when that name is a link itself.
 */
export function safeTarget(path: string, target: string): boolean {
  if (target === "" || target.startsWith("/") || target.includes("\0")) return false;
  const parts = target.split("/").filter((part) => part !== "" && part !== ".");
  const up = parts.findIndex((part) => part !== "..");
  const climbs = up < 0 ? parts.length : up;
  if (parts.slice(climbs).includes("..")) return false;
  return climbs <= path.split("/").length - 1;
}
