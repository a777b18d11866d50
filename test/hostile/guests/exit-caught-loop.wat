;; Exits, catches that, and stays.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $l
      (block $a (try_table (catch_all $a) (call $exit (i32.const 3))))
      (br $l))))
