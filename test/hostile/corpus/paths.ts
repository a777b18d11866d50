import type { Hostile } from "../guest.ts";

/** Guests that want out by the file system, or into what they may only read. */
export const paths: readonly Hostile[] = [
  { name: "path-parents", wants: "go up and out by `..`, in every way that it can be written", ends: "exit 0" },
  { name: "path-absolute", wants: "open paths from the root, the tree's own and the host's", ends: "exit 0" },
  { name: "path-links", wants: "follow links of its own out", ends: "exit 0" },
  { name: "path-host", wants: "find what /proc, /dev and such names mean on the host", ends: "exit 0" },
  { name: "path-case", wants: "take one name for another by case, Unicode or what looks like a dot", ends: "exit 0" },
  { name: "path-not-utf8", wants: "write `..` and `/` in longer ways than UTF-8 allows", ends: "exit 0" },
  { name: "path-zero", wants: "end a path early with a zero byte", ends: "exit 0" },
  { name: "path-slashes", wants: "make a directory of a file by what follows its name", ends: "exit 0" },
  { name: "path-long", wants: "hand over longer and deeper paths than there are", ends: "exit 0" },
  { name: "path-loop", wants: "send us round in circles of links", ends: "exit 0" },
  {
    name: "resolve-slow",
    wants: "make one path cost as much as it can",
    ends: "limit-time",
    limits: { timeMs: 300 },
    withinMs: 2000,
  },
  { name: "directory-moves", wants: "put a directory into itself, link to it, or climb out of a moved one", ends: "exit 0" },
  { name: "read-only", wants: "change what is mounted to be read", ends: "exit 0" },
  { name: "descriptors-forged", wants: "use descriptors that it was not given, or that are of another kind", ends: "exit 0" },
  { name: "stdio-swap", wants: "put files and streams in each other's place", ends: "exit 0" },
  { name: "leftovers", wants: "find what another guest or the host left, and leave something itself", ends: "exit 0" },
  { name: "leftovers", wants: "find what the same guest left before", ends: "exit 0" },
  {
    name: "pointers",
    wants: "reach outside its memory by any pointer or length of any of the 46 functions",
    ends: "exit 0",
    prints: /46 functions, \d{4} calls, 0 wrong\n$/,
  },
]; // prettier-ignore
