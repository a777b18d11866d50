;; Exits, catches that, and goes on: writes, and exits with something else.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\06\00\00\00")
  (data (i32.const 16) "alive\n")
  (func (export "_start")
    (block $a (try_table (catch_all $a) (call $exit (i32.const 3))))
    (block $a (try_table (catch_all $a) (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))
    (block $a (try_table (catch_all $a) (call $exit (i32.const 0))))))
