;; Reads 16 bytes of which 15 lie in memory.
(module (memory (export "memory") 1) (func (export "_start") (drop (v128.load (i32.const 65521)))))
