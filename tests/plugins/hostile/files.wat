;; Answers how many directories are open to it.

(import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))

(data (i32.const 1024) "{\"directories\": }")

(func $provide (param i32)
  (call $directories (i32.const 512))
  (call $digit (i32.const 1039) (i32.load (i32.const 516)))
  (call $answer (i32.const 1024) (i32.const 17)))
