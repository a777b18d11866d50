;; Asks for more memory than it gets, again and again.
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $more
      (drop (memory.grow (i32.const 60000)))
      (br $more))))
