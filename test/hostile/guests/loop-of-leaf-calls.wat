;; A loop of calls to a function that calls nothing: who leaves the check to the callee finds that it has none.
(module
  (type $t (func (param i32) (result i32)))
  (table funcref (elem $leaf $other))
  (func $leaf (type $t) (i32.mul (local.get 0) (i32.const 3)))
  (func $other (type $t) (i32.xor (local.get 0) (i32.const 7)))
  (func (export "_start") (local $i i32)
    (loop $l
      (local.set $i (i32.add (i32.const 1) (call_indirect (type $t) (local.get $i) (i32.and (local.get $i) (i32.const 1)))))
      (br $l))))
