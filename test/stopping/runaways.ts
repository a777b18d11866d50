import { compile } from "watr";

/**
 * Guests that do not end by themselves, each in another place when it is stopped. All say so with one byte on stderr when they
 * have begun (but for those of whom only a start function runs, or that write).
 */
const bodies = {
  loops: `(loop $l (br $l))`,
  "loops and catches everything": `
    (loop $outer
      (block $caught (try_table (catch_all $caught) (loop $l (br $l))))
      (br $outer))`,
  "throws and catches": `
    (loop $l
      (block $caught (try_table (catch_all $caught) (throw $oops)))
      (br $l))`,
  "calls the host without end and catches everything": `
    (loop $l
      (block $caught (try_table (catch_all $caught) (drop (call $sched_yield))))
      (br $l))`,
  "calls itself a number of times that nobody lives to see": `(call $tree (i32.const 60))`,
  "grows its memory without end": `(loop $l (drop (memory.grow (i32.const 1))) (br $l))`,
  "grows its table without end": `
    (loop $l
      (drop (table.grow $t (ref.null func) (i32.const 1000)))
      (br $l))`,
  "fills all of its memory again and again": `
    (call $all)
    (loop $l
      (memory.fill (i32.const 0) (i32.const 7) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)))
      (br $l))`,
  "copies all of its memory again and again": `
    (call $all)
    (loop $l
      (memory.copy (i32.const 0) (i32.const 1) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 2)))
      (br $l))`,
  "fills all of its table again and again": `
    (drop (table.grow $t (ref.null func) (i32.const 990000)))
    (loop $l
      (table.fill $t (i32.const 0) (ref.null func) (table.size $t))
      (br $l))`,
  "asks for 128 MiB of chance": `
    (call $all)
    (loop $l (drop (call $random_get (i32.const 65536) (i32.const 134217728))) (br $l))`,
  "reads 128 MiB at once, again and again": `
    (call $all)
    (call $open (i32.const 3) (i32.const 1))
    (i32.store (i32.const 64) (i32.const 65536))
    (i32.store (i32.const 68) (i32.const 134217728))
    (loop $l
      (drop (call $fd_pread (i32.load (i32.const 40)) (i32.const 64) (i32.const 1) (i64.const 0) (i32.const 80)))
      (br $l))`,
  "writes 128 MiB at once, again and again": `
    (call $all)
    (call $open (i32.const 3) (i32.const 1))
    (i32.store (i32.const 64) (i32.const 65536))
    (i32.store (i32.const 68) (i32.const 134217728))
    (loop $l
      (drop (call $fd_pwrite (i32.load (i32.const 40)) (i32.const 64) (i32.const 1) (i64.const 0) (i32.const 80)))
      (br $l))`,
  "lists a large directory again and again": `
    (call $all)
    (loop $l
      (drop (call $fd_readdir (i32.const 3) (i32.const 65536) (i32.const 16777216) (i64.const 0) (i32.const 80)))
      (br $l))`,
  "makes directories without end": `
    (loop $l
      (i32.store (i32.const 200) (i32.add (i32.load (i32.const 200)) (i32.const 1)))
      (i64.store (i32.const 208) (i64.or (i64.const 0x6161616161616161) (i64.extend_i32_u (i32.and (i32.load (i32.const 200)) (i32.const 0x0f0f0f0f)))))
      (drop (call $path_create_directory (i32.const 3) (i32.const 208) (i32.const 8)))
      (br $l))`,
  "follows a path of 1,000 parts again and again": `
    (local $at i32)
    (local.set $at (i32.const 1000))
    (loop $fill
      (i32.store16 (local.get $at) (i32.const 0x2f2e))
      (br_if $fill (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 2))) (i32.const 5000))))
    (loop $l
      (drop (call $path_create_directory (i32.const 3) (i32.const 1000) (i32.const 4000)))
      (br $l))`,
  sleeps: `(call $sleep)`,
  "sleeps for a moment, again and again": `
    (i64.store (i32.const 24) (i64.const 1000000))
    (loop $l (call $again) (br $l))`,
} as const;

/** What its start function does, before there is a \`_start\`. */
const starts = {
  "loops in its start function": bodies.loops,
  "sleeps in its start function": bodies.sleeps,
  "grows its memory in its start function": bodies["grows its memory without end"],
} as const;

export const runaways: ReadonlyMap<string, () => Uint8Array> = new Map([
  ...Object.entries(bodies).map(([name, body]) => [name, () => guest(body)] as const),
  ...Object.entries(starts).map(([name, body]) => [name, () => guest("", body)] as const),
]);

/** Sleeps for so long, then prints "x" to stdout and ends. */
export function sleeper(ms: number): Uint8Array {
  return guest(`
    (i64.store (i32.const 24) (i64.const ${ms * 1_000_000}))
    (call $again)
    ${printX}`);
}

/** Calls itself so many times, one in the other, waits at the bottom or not; then prints "x" to stdout. */
export function nested(depth: number, waits: boolean): Uint8Array {
  const poll = waits ? `"poll_oneoff" (func $bottom (param i32 i32 i32 i32) (result i32))` : `"sched_yield" (func $yield (result i32))`;
  return compile(`(module
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" ${poll})
    (memory (export "memory") 1)
    (data (i32.const 16) "\\01")
    (func $down (param $n i32)
      (if (local.get $n)
        (then (call $down (i32.sub (local.get $n) (i32.const 1))) (i32.store (i32.const 1000) (local.get $n)))
        (else (drop ${waits ? "(call $bottom (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 90))" : "(call $yield)"}))))
    (func (export "_start")
      (i64.store (i32.const 24) (i64.const 5000000))
      (call $down (i32.const ${depth}))
      ${printX})
  )`);
} // prettier-ignore

const printX = `
    (i32.store (i32.const 64) (i32.const 60))
    (i32.store (i32.const 68) (i32.const 1))
    (i32.store8 (i32.const 60) (i32.const 120))
    (drop (call $fd_write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 80)))`;

/** A module with this in `_start`, or with that in its start function. */
export function guest(body: string, start?: string): Uint8Array {
  return compile(`(module
    (type $p2 (func (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pread" (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pwrite" (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $path_create_directory (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random_get (type $p2)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1 4096)
    (table $t 10 1000000 funcref)
    (tag $oops)
    ;; A subscription to the clock 1 for 1,000,000 s lies at 0, its event goes to 100; the name "f" lies at 50.
    (data (i32.const 16) "\\01")
    (data (i32.const 24) "\\00\\00\\c6\\bf\\9e\\2e\\8d\\03")
    (data (i32.const 50) "f")
    (func $tall (param $n i32)
      (if (local.get $n) (then (call $tall (i32.sub (local.get $n) (i32.const 1))) (i32.store (i32.const 1000) (local.get $n)))))
    (func $tree (param $n i32)
      (if (local.get $n) (then
        (call $tree (i32.sub (local.get $n) (i32.const 1)))
        (call $tree (i32.sub (local.get $n) (i32.const 1))))))
    ;; All the memory that may be had.
    (func $all (loop $l (br_if $l (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))))
    (func $open (param $fd i32) (param $flags i32)
      (drop (call $path_open (local.get $fd) (i32.const 0) (i32.const 50) (i32.const 1) (local.get $flags)
        (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 40))))
    (func $again (drop (call $poll_oneoff (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 90))))
    (func $sleep (call $again))
    ;; Says that it has begun.
    (func $say
      (i32.store (i32.const 64) (i32.const 60))
      (i32.store (i32.const 68) (i32.const 1))
      (i32.store8 (i32.const 60) (i32.const 98))
      (drop (call $fd_write (i32.const 2) (i32.const 64) (i32.const 1) (i32.const 80))))
    (func (export "_start") ${start === undefined ? "(call $say)" : ""} (call $main))
    (func $main ${start === undefined ? body : ""})
    ${start === undefined ? "" : `(func $begin (call $say) ${start}) (start $begin)`}
  )`);
}
