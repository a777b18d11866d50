;; Wants the memory from us, with threads' usual name for it.
(module (import "env" "memory" (memory 1 65536)) (func (export "_start")))
