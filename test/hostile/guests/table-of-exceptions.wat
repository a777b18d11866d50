;; A table of exceptions, each of which lies in V8's heap.
(module (table 10 exnref) (func (export "_start")))
