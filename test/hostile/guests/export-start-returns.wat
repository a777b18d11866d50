;; Returns a function, a reference and numbers, which are nobody's.
(module (func $f (export "_start") (result i64 externref funcref f64) (i64.const -1) (ref.null extern) (ref.func $f) (f64.const nan)))
