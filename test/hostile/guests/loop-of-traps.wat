;; Tries to catch traps: a trap must end it, whatever it catches.
(module
  (func (export "_start")
    (loop $l
      (block $caught (try_table (catch_all $caught) (unreachable)))
      (br $l))))
