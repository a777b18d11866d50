;; Two memories, each of which would have the ceiling for itself.
(module (memory (export "memory") 1) (memory $more 1)
  (func (export "_start") (loop $l (br_if $l (i32.ne (memory.grow $more (i32.const 1)) (i32.const -1))))))
