;; An endless loop by a table of branches, each of which goes round.
(module (func (export "_start") (local $i i32)
  (loop $a (loop $b (loop $c
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_table $a $b $c $a (i32.rem_u (local.get $i) (i32.const 5))))))))
