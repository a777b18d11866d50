;; A table of ten million entries, 80 MB of the host's own memory.
(module (table 10000000 funcref) (func (export "_start")))
