;; Answers how many variables and arguments it sees.

(import "wasi:cli/environment@0.2.0" "get-environment" (func $environment (param i32)))
(import "wasi:cli/environment@0.2.0" "get-arguments" (func $arguments (param i32)))

(data (i32.const 1024) "{\"variables\": , \"arguments\": }")

(func $provide (param i32)
  (call $environment (i32.const 512))
  (call $digit (i32.const 1037) (i32.load (i32.const 516)))
  (call $arguments (i32.const 512))
  (call $digit (i32.const 1052) (i32.load (i32.const 516)))
  (call $answer (i32.const 1024) (i32.const 30)))
