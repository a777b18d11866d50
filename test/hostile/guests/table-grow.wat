;; Grows a table until it gets no more; traps when that was more than the ceiling.
(module (table $t 1 funcref)
  (func (export "_start")
    (loop $more (br_if $more (i32.ne (table.grow $t (ref.func 0) (i32.const 997)) (i32.const -1))))
    (if (i32.gt_u (table.size $t) (i32.const 1000000)) (then (unreachable)))
    (table.fill $t (i32.const 0) (ref.null func) (table.size $t)))
  (elem declare func 0))
