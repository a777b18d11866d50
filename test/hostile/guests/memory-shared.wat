;; Shared memory, and a wait on it that no other thread would ever end.
(module (memory (export "memory") 1 2 shared)
  (func (export "_start") (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))
