;; Opens its credential again and again, and never closes it.

(import "vendordock:vendordata/credentials@0.1.0" "open" (func $open (param i32 i32 i32)))

(data (i32.const 1024) "key")

(func $provide (param i32)
  (loop $again
    (call $open (i32.const 1024) (i32.const 3) (i32.const 512))
    (br_if $again (i32.eqz (i32.load8_u (i32.const 512))))))
