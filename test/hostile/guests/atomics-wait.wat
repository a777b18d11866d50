;; A wait on memory that is its own alone: it would block the thread and not the guest.
(module (memory (export "memory") 1)
  (func (export "_start") (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))
