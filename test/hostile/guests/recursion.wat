;; Calls itself without end.
(module (func $f (export "_start") (call $f)))
