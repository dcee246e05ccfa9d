;; Half of a component: a module, as compilers make it.
(module
  (memory (export "memory") 1)
  (func (export "vendordock:vendordata/provider@0.1.0#provide") (param i32) (result i32)
    unreachable))
