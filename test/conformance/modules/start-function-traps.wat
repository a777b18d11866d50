(module (memory (export "memory") 1)
  (func $begin unreachable) (func (export "_start")) (start $begin))
