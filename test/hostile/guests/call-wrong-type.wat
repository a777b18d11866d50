;; Calls a function through a table by another type than its own.
(module
  (type $own (func (param i32))) (type $other (func (param i64 externref) (result externref)))
  (table funcref (elem $f))
  (func $f (type $own))
  (func (export "_start") (drop (call_indirect (type $other) (i64.const 1) (ref.null extern) (i32.const 0)))))
