;; One function by several types; each must be answered by its own or not at all, and none may crash us.
(module
  (import "wasi_snapshot_preview1" "fd_close" (func $a (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $b (param i64 i64) (result f64)))
  (import "wasi_snapshot_preview1" "fd_close" (func $c (param externref) (result i64)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $a (i32.const 99)))
    (drop (call $b (i64.const 99) (i64.const -1)))
    (drop (call $c (ref.null extern)))))
