;; One exception thrown again and again, from deep within.
(module
  (tag $t)
  (func $f (param $depth i32) (param $e exnref)
    (if (local.get $depth) (then (call $f (i32.sub (local.get $depth) (i32.const 1)) (local.get $e))) (else (throw_ref (local.get $e)))))
  (func (export "_start") (local $e exnref)
    (block $first (result exnref) (try_table (catch_all_ref $first) (throw $t)) (unreachable))
    (local.set $e)
    (loop $l
      (block $again (result exnref)
        (try_table (catch_all_ref $again) (call $f (i32.const 500) (local.get $e)))
        (unreachable))
      (local.set $e)
      (br $l))))
