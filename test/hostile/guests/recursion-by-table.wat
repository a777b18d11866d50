;; Two functions that call each other through a table, with arguments that must be kept.
(module
  (type $t (func (param i64 i64 i64 i64) (result i64)))
  (table funcref (elem $a $b))
  (func $a (type $t) (i64.add (local.get 0) (call_indirect (type $t) (local.get 1) (local.get 2) (local.get 3) (local.get 0) (i32.const 1))))
  (func $b (type $t) (i64.add (local.get 0) (call_indirect (type $t) (local.get 1) (local.get 2) (local.get 3) (local.get 0) (i32.const 0))))
  (func (export "_start") (drop (call $a (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)))))
