;; Answers with a member that stands there twice, once in disguise.

(data (i32.const 1024) "{\"a\":1,\"\\u0061\":2}")

(func $provide (param i32)
  (call $answer (i32.const 1024) (i32.const 18)))
