;; A list in V8's heap without end.
(module (type $n (struct (field (ref null $n))))
  (func (export "_start") (local $n (ref null $n)) (loop $l (local.set $n (struct.new $n (local.get $n))) (br $l))))
