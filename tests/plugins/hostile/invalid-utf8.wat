;; Answers with a byte that is no text.

(data (i32.const 1024) "{\"a\":\"\ff\"}")

(func $provide (param i32)
  (call $answer (i32.const 1024) (i32.const 9)))
