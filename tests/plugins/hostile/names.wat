;; Looks a name up by itself, and answers with the `error-code` of `wasi:sockets`; 9 stands for all above 8, and so for
;; `permanent-resolver-failure`.

(import "wasi:sockets/instance-network@0.2.0" "instance-network" (func $network (result i32)))
(import "wasi:sockets/ip-name-lookup@0.2.0" "resolve-addresses" (func $resolve (param i32 i32 i32 i32)))

(data (i32.const 1024) "localhost")
(data (i32.const 1056) "{\"resolve\": }")
(data (i32.const 1088) "{\"resolved\":true}")

(func $provide (param i32)
  (call $resolve (call $network) (i32.const 1024) (i32.const 9) (i32.const 512))
  (call $answer (i32.const 1088) (i32.const 17))
  (if (i32.load8_u (i32.const 512))
    (then
      (call $digit (i32.const 1067) (i32.load8_u (i32.const 516)))
      (call $answer (i32.const 1056) (i32.const 13)))))
