;; Many tables, each of which would have the ceiling for itself.
(module
  (table $a 0 funcref) (table $b 0 externref) (table $c 0 funcref) (table $d 0 funcref)
  (func (export "_start")
    (loop $l (br_if $l (i32.ne (table.grow $a (ref.null func) (i32.const 1000)) (i32.const -1))))
    (loop $l (br_if $l (i32.ne (table.grow $b (ref.null extern) (i32.const 1000)) (i32.const -1))))
    (loop $l (br_if $l (i32.ne (table.grow $c (ref.null func) (i32.const 1000)) (i32.const -1))))
    (loop $l (br_if $l (i32.ne (table.grow $d (ref.null func) (i32.const 1000)) (i32.const -1))))
    (if (i32.gt_u (i32.add (i32.add (table.size $a) (table.size $b)) (i32.add (table.size $c) (table.size $d))) (i32.const 1000000))
      (then (unreachable)))))
