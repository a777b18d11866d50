;; Exits with something that is no number.
(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param externref funcref)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (ref.null extern) (ref.func 1)))
  (elem declare func 1))
