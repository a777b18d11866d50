;; Fills the stack, catches whatever that throws, and goes down again from each level: 2^depth tries.
(module
  (func $f
    (block $caught (try_table (catch_all $caught) (call $f)))
    (block $caught (try_table (catch_all $caught) (call $f))))
  (func (export "_start") (call $f)))
