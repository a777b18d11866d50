;; Each exception holds the one before: a list in V8's heap that no page of memory shows.
(module
  (tag $t (param exnref))
  (func (export "_start") (local $last exnref)
    (loop $l
      (block $caught (result exnref exnref)
        (try_table (catch_ref $t $caught) (throw $t (local.get $last)))
        (unreachable))
      (local.set $last)
      (drop)
      (br $l))))
