;; Types that hold each other.
(module (rec (type $a (struct (field (ref null $b)))) (type $b (struct (field (ref null $a))))) (func (export "_start")))
