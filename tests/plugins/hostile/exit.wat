;; Ends the process, and says that all went well.

(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))

(func $provide (param i32)
  (call $exit (i32.const 0)))
