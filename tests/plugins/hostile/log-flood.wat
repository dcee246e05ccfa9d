;; Logs a million lines.

(import "vendordock:vendordata/log@0.1.0" "emit" (func $emit (param i32 i32 i32 i32 i32)))

(data (i32.const 1024) "something of no interest")

(func $provide (param i32)
  (local $left i32)
  (local.set $left (i32.const 1000000))
  (loop $more
    ;; Level 2 is `info`; there are no fields.
    (call $emit (i32.const 2) (i32.const 1024) (i32.const 24) (i32.const 0) (i32.const 0))
    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
    (br_if $more (local.get $left))))
