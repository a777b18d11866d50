;; Relaxed SIMD may give other results on other machines, and nothing else.
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (v128.store (i32.const 0) (f32x4.relaxed_madd (v128.const f32x4 nan 1 2 3) (v128.const f32x4 inf 1 2 3) (v128.const f32x4 0 0 0 0)))
    (v128.store (i32.const 16) (i8x16.relaxed_swizzle (v128.load (i32.const 0)) (v128.const i8x16 255 128 127 16 15 0 1 2 3 4 5 6 7 8 9 10)))))
