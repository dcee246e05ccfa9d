;; Calls itself without end, and is never done with any of the calls.

(func $provide (param i32)
  (drop (call $deeper (local.get 0))))

(func $deeper (param i32) (result i32)
  (i32.add (i32.const 1) (call $deeper (i32.add (i32.const 1) (local.get 0)))))
