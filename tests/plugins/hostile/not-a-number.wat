;; Answers with what is no number.

(data (i32.const 1024) "{\"a\":NaN}")

(func $provide (param i32)
  (call $answer (i32.const 1024) (i32.const 9)))
