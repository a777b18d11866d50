(module (import "" "" (func)) (func (export "_start")))
