;; Names that mean something on objects.
(module
  (memory (export "memory") 1)
  (global (export "__proto__") i32 (i32.const 0))
  (func $f (export "constructor") (export "hasOwnProperty") (export "toString") (export "") (export "\00") (export "length") (export "__defineGetter__"))
  (func (export "_start")))
