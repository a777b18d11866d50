;; Waits at the end of the stack: a stack is put aside that is almost full.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\01")
  (global $depth (mut i32) (i32.const 0))
  (func $f
    (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
    (if (i32.eqz (i32.rem_u (global.get $depth) (i32.const 1000)))
      (then (i64.store (i32.const 24) (i64.const 3000000))
            (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))
    (call $f))
  (func (export "_start") (call $f)))
