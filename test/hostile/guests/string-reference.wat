;; The string proposal's constants.
(module (func (export "_start") (drop (string.const "x"))))
