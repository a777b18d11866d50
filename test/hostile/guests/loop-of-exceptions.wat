;; Throws and catches without end.
(module (tag $t)
  (func $f (throw $t))
  (func (export "_start")
    (loop $l
      (block $caught (try_table (catch_all $caught) (call $f)))
      (br $l))))
