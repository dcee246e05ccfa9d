;; Has the gateway copy seven mebibytes for it, without end.

(import "vendordock:vendordata/config@0.1.0" "get" (func $get (param i32 i32 i32)))

(func $provide (param i32)
  (drop (memory.grow (i32.const 200)))
  (memory.fill (i32.const 65536) (i32.const 120) (i32.const 7340032))
  (loop $again
    (call $get (i32.const 65536) (i32.const 7340032) (i32.const 512))
    (br $again)))
