(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1) (global $times (mut i32) (i32.const 0))
  (func $begin (export "_start") (global.set $times (i32.add (global.get $times) (i32.const 1)))
    (if (i32.eq (global.get $times) (i32.const 2)) (then (call $exit (i32.const 2)))))
  (start $begin))
