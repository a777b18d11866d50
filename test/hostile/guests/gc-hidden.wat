;; References of the garbage-collection proposal without a type of it: what needs none must not reach V8's heap either.
(module
  (func (export "_start") (local $x externref) (local $i i32)
    (loop $l
      (local.set $x (extern.convert_any (ref.i31 (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 1000000))))))
