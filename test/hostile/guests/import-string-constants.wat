(module (import "'" "a constant" (global externref)) (func (export "_start")))
