(module (import "constructor" "prototype" (func (result i32))) (func (export "_start")))
