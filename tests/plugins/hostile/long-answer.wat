;; Answers with a mebibyte: good JSON, and more than its target may.

(data (i32.const 1024) "{\"a\":\"")

(func $provide (param i32)
  (drop (memory.grow (i32.const 16)))
  (memory.fill (i32.const 1030) (i32.const 120) (i32.const 1113082))
  (i32.store16 (i32.const 1114112) (i32.const 0x7d22))
  (call $answer (i32.const 1024) (i32.const 1113090)))
