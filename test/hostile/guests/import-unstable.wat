;; The version before preview 1, whose structures are other ones.
(module (import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32))) (func (export "_start")))
