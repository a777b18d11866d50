;; Exits while it is instantiated.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $s (call $exit (i32.const 9)))
  (start $s)
  (func (export "_start")))
