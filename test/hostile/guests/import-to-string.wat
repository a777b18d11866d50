(module (import "wasi_snapshot_preview1" "toString" (func (result i32))) (func (export "_start")))
