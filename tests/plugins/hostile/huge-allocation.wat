;; Asks for all memory that there can be, at once, and dies when it does not get it.

(func $provide (param i32)
  (if (i32.eq (memory.grow (i32.const 65000)) (i32.const -1))
    (then unreachable)))
