(module (import "atalanta_http" "__proto__" (func (result i32))) (func (export "_start")))
