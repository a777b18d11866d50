;; A memory with addresses of 64 bits, whose ceiling is 16 EiB.
(module (memory (export "memory") i64 1 0x100000) (func (export "_start") (drop (memory.grow (i64.const 0xffffffff)))))
