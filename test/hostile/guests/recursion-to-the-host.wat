;; Goes down to the end of the stack and calls us on the way at each level, so that the stack ends in our own frames.
(module
  (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "in")
  (func $f
    (drop (call $stat (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 64)))
    (call $f))
  (func (export "_start") (call $f)))
