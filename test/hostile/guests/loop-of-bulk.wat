;; Fills and copies all of its memory in single instructions.
(module (memory (export "memory") 4096)
  (func (export "_start")
    (loop $l
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x10000000))
      (memory.copy (i32.const 0) (i32.const 1) (i32.const 0xfffffff))
      (br $l))))
