;; Tail calls without end: the stack stays as it is, and no loop is to be seen.
(module
  (type $t (func (param i32)))
  (table funcref (elem $b))
  (func $a (type $t) (return_call_indirect (type $t) (i32.add (local.get 0) (i32.const 1)) (i32.const 0)))
  (func $b (type $t) (return_call $a (local.get 0)))
  (func (export "_start") (call $a (i32.const 0))))
