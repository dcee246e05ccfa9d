;; Answers with half a pair of surrogates, escaped.

(data (i32.const 1024) "{\"a\":\"\\ud800\"}")

(func $provide (param i32)
  (call $answer (i32.const 1024) (i32.const 14)))
