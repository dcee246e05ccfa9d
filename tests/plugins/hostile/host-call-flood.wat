;; Asks the gateway for the time, without end.

(import "vendordock:vendordata/clock@0.1.0" "now" (func $now (result i64)))

(func $provide (param i32)
  (loop $again
    (drop (call $now))
    (br $again)))
