;; A module that every object has.
(module (import "__proto__" "toString" (func (result i32))) (func (export "_start")))
