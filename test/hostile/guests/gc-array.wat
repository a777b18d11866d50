;; An array of 2 GB in V8's heap.
(module (type $a (array (mut i8))) (func (export "_start") (drop (array.new_default $a (i32.const 2000000000)))))
