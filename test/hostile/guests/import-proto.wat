;; A function that every object has.
(module (import "wasi_snapshot_preview1" "__proto__" (func)) (func (export "_start")))
