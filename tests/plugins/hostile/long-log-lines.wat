;; Logs lines of 16 MiB.

(import "vendordock:vendordata/log@0.1.0" "emit" (func $emit (param i32 i32 i32 i32 i32)))

(func $provide (param i32)
  (drop (memory.grow (i32.const 300)))
  (memory.fill (i32.const 65536) (i32.const 120) (i32.const 16777216))
  (loop $more
    (call $emit (i32.const 2) (i32.const 65536) (i32.const 16777216) (i32.const 0) (i32.const 0))
    (br $more)))
