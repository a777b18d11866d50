;; Calls us in the start function, before its memory is known to us, and waits there.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\06\00\00\00")
  (data (i32.const 16) "early\n")
  (global $write (mut i32) (i32.const -1))
  (global $poll (mut i32) (i32.const -1))
  (func $s
    (global.set $poll (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256)))
    (global.set $write (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32))))
  (start $s)
  (func (export "_start")
    (if (i32.ne (global.get $poll) (i32.const 0)) (then (call $exit (global.get $poll))))
    (call $exit (global.get $write))))
