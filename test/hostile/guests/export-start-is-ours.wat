;; The entry is a function of ours, handed back.
(module (import "wasi_snapshot_preview1" "sched_yield" (func $y (result i32))) (memory (export "memory") 1) (export "_start" (func $y)))
