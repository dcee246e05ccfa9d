;; Uses a credential that nobody gave it, by guessing the handle's number.

(import "vendordock:vendordata/credentials@0.1.0" "[method]credential.reveal" (func $reveal (param i32 i32)))

(func $provide (param i32)
  (call $reveal (i32.const 1) (i32.const 512)))
