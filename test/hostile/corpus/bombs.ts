import type { Hostile } from "../guest.ts";

/** A time limit that is met soon. */
const short = { limits: { timeMs: 300 }, withinMs: 2000 } as const;
const fullStack = /^(limit-stack|trap: Maximum call stack size exceeded)$/;

/** Guests that want more of something than they may have, or not to be stopped. */
export const bombs: readonly Hostile[] = [
  // Memory and tables.
  { name: "grow-loop", wants: "grow its memory page by page without end", ends: "exit 256" },
  { name: "grow-refused-forever", wants: "ask for more memory again and again", ends: "limit-time", ...short },
  { name: "memory-claims-all", wants: "have all 4 GiB because it said so", ends: "exit 1" },
  { name: "memory-starts-large", wants: "start with 4 GiB", ends: "limit-memory" },
  { name: "memory-64", wants: "have memory beyond 4 GiB", ends: "module-unsupported" },
  { name: "memories-many", wants: "have the ceiling of memory twice", ends: "module-unsupported" },
  { name: "memory-shared", wants: "share memory and wait on it", ends: "module-unsupported" },
  { name: "memory-is-imported", wants: "be given a memory of 4 GiB", ends: "module-unsupported" },
  { name: "atomics-wait", wants: "block its thread with an atomic wait", ends: /^trap: Atomics\.wait/ },
  { name: "memory-edge", wants: "read behind its memory by an address that overflows", ends: "trap: memory access out of bounds" },
  { name: "simd-edge", wants: "read a vector that ends behind its memory", ends: "trap: memory access out of bounds" },
  { name: "simd-relaxed", wants: "use relaxed SIMD on odd numbers", ends: "exit 0" },
  { name: "table-grow", wants: "grow a table beyond its ceiling", ends: "exit 0" },
  { name: "table-starts-large", wants: "start with a table of 80 MB", ends: "limit-table" },
  { name: "tables-many", wants: "have the ceiling of tables four times", ends: "exit 0" },
  { name: "table-of-exceptions", wants: "keep exceptions of V8's heap in a table", ends: "module-unsupported" },
  { name: "call-wrong-type", wants: "call a function by another type than its own", ends: /^trap: (null function or )?function signature mismatch$/ },
  // V8's heap.
  { name: "gc-array", wants: "make one array of 2 GB", ends: "module-unsupported" },
  { name: "gc-list", wants: "make a list without end", ends: "module-unsupported" },
  { name: "gc-recursive-types", wants: "use types that hold each other", ends: "module-unsupported" },
  { name: "gc-hidden", wants: "fill V8's heap with references that need no type", ends: "exit 0" },
  { name: "string-reference", wants: "make strings of the host's", ends: /^module-(invalid|unsupported)$/ },
  { name: "exceptions-chained", wants: "make a list without end of exceptions", ends: /^limit-(time|cpu-time|memory)$/, limits: { timeMs: 1500 } },
  { name: "exceptions-chained", wants: "fill V8's heap with exceptions before its time is up", ends: /^limit-(time|cpu-time|memory)$/, long: true, withinMs: 30_000 },
  { name: "exceptions-rethrown", wants: "throw one exception again and again from far below", ends: "limit-time", ...short },
  // The stack.
  { name: "recursion", wants: "call itself without end", ends: fullStack },
  { name: "recursion-by-table", wants: "call itself by way of a table", ends: fullStack },
  { name: "recursion-caught", wants: "catch the end of the stack and go down again from each level", ends: fullStack },
  { name: "recursion-to-the-host", wants: "have the stack end in our frames", ends: fullStack },
  { name: "recursion-then-poll", wants: "wait at the end of the stack", ends: fullStack },
  // Never ending.
  { name: "loop-endless", wants: "loop", ends: "limit-time", ...short },
  { name: "loop-by-table", wants: "loop by a table of branches", ends: "limit-time", ...short },
  { name: "loop-in-start", wants: "loop before it is instantiated", ends: "limit-time", ...short },
  { name: "loop-of-bulk", wants: "spend its time in single instructions that fill all of its memory", ends: "limit-time", ...short },
  { name: "loop-of-exceptions", wants: "loop by exceptions", ends: "limit-time", ...short },
  { name: "loop-of-leaf-calls", wants: "loop where neither caller nor callee looks at the stack", ends: "limit-time", ...short },
  { name: "loop-of-tail-calls", wants: "loop by tail calls, which nothing can stop", ends: "module-unsupported" },
  { name: "loop-of-traps", wants: "catch its own traps", ends: "trap: unreachable" },
  { name: "calls-forever", wants: "always be in a call of ours when it is to be stopped", ends: "limit-time", ...short },
  { name: "exit-caught", wants: "go on after its exit", ends: "exit 3", prints: "" },
  { name: "exit-caught-loop", wants: "stay after its exit", ends: "limit-time", ...short },
  { name: "exit-in-start", wants: "exit before it is instantiated", ends: "exit 9" },
  { name: "exit-numbers", wants: "exit with a number that is no process's", ends: "exit 4294967295" },
  { name: "start-calls", wants: "call us before we know its memory", ends: "exit 0", prints: /^(early\n)?$/ },
  { name: "start-waits", wants: "wait for years before it is instantiated", ends: "limit-time", ...short },
  { name: "poll-forever", wants: "wait for 584 years", ends: "limit-time", ...short },
  { name: "poll-bomb", wants: "wait for more things than there are, and for times that overflow", ends: "exit 0" },
  { name: "clocks", wants: "read clocks that it was not given, or see time go back", ends: "exit 0", prints: /time went on\n$/ },
  { name: "random-flood", wants: "have randomness without end", ends: /^limit-(time|random|cpu-time)$/, ...short },
  // Files and descriptors.
  { name: "descriptor-leak", wants: "never close what it opens", ends: "exit 0" },
  { name: "many-files", wants: "make millions of names", ends: "exit 0", limits: { fileCount: 5000 } },
  { name: "many-files", wants: "make millions of names under the default ceiling", ends: "exit 0", prints: /^100000 names, then nospc\n/, long: true },
  { name: "deep-folders", wants: "make folders in folders without end", ends: "exit 0" },
  { name: "link-targets", wants: "fill our memory with the targets of links", ends: "exit 0" },
  { name: "listings-held", wants: "fill our memory with listings of a large directory", ends: "exit 0" },
  { name: "listing-grows", wants: "read a directory that grows while it is read", ends: "exit 0" },
  { name: "sparse", wants: "make files of 2^63 bytes", ends: "exit 0" },
  { name: "disk-fill", wants: "fill the disk with files that have no name any more", ends: "exit 0", limits: { filesBytes: 16 * 1024 * 1024 } },
  // Output.
  { name: "log-flood", wants: "write output without end", ends: "limit-output" },
  { name: "log-bytes", wants: "write output without end, a byte at a time", ends: /^limit-(output|log)/, limits: { outputBytes: 100_000 } },
  { name: "log-lines", wants: "write empty lines without end", ends: /^limit-(output|log)/ },
  { name: "log-nothing", wants: "write nothing, without end", ends: "limit-time", ...short },
  { name: "log-control", wants: "give orders to a terminal, a build system or a reader of our output", ends: "exit 7" },
  // What it is started with.
  { name: "hello", wants: "be started with more arguments than fit", ends: "limit-arguments", arguments: ["x".repeat(1024 * 1024)] },
  { name: "hello", wants: "be started with a larger environment than fits", ends: "limit-arguments", environment: [["A", "x".repeat(1024 * 1024)]] },
  { name: "hello", wants: "be started with an argument that holds a zero byte", ends: "invalid-argument", arguments: ["a\0b"] },
  { name: "hello", wants: "hide a second variable behind a zero byte", ends: "invalid-argument", environment: [["A", "x\0PATH=/evil"]] },
]; // prettier-ignore
