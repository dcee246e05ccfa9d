;; Tries to connect to 127.0.0.1, and answers which step failed and with which `error-code` of `wasi:sockets`; 1 is
;; `access-denied`.

(import "wasi:sockets/instance-network@0.2.0" "instance-network" (func $network (result i32)))
(import "wasi:sockets/tcp-create-socket@0.2.0" "create-tcp-socket" (func $create (param i32 i32)))
(import "wasi:sockets/tcp@0.2.0" "[method]tcp-socket.start-connect"
  (func $connect (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))

(data (i32.const 1024) "{\"create\": }")
(data (i32.const 1056) "{\"connect\": }")
(data (i32.const 1088) "{\"connected\":true}")

(func $provide (param i32)
  (call $create (i32.const 0) (i32.const 512))
  (if (i32.load8_u (i32.const 512))
    (then
      (call $digit (i32.const 1034) (i32.load8_u (i32.const 516)))
      (call $answer (i32.const 1024) (i32.const 12))
      return))
  (call $connect
    (i32.load (i32.const 516))
    (call $network)
    (i32.const 0) ;; ipv4
    (i32.const 22)
    (i32.const 127) (i32.const 0) (i32.const 0) (i32.const 1)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 528))
  (call $answer (i32.const 1088) (i32.const 18))
  (if (i32.load8_u (i32.const 528))
    (then
      (call $digit (i32.const 1067) (i32.load8_u (i32.const 529)))
      (call $answer (i32.const 1056) (i32.const 13)))))
