;; An endless loop before the instance is there: in the start function.
(module (func $s (loop $l (br $l))) (start $s) (func (export "_start")))
