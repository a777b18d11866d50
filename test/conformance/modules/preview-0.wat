(module (import "wasi_unstable" "sched_yield" (func $yield (result i32))) (memory (export "memory") 1) (func (export "_start") (drop (call $yield))))
