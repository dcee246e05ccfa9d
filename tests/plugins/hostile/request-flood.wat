;; Sends a thousand requests to where it may send some, and answers whether the last was one too many: `http-error` 7.

(import "vendordock:vendordata/http@0.1.0" "send"
  (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))

;; Nobody listens there.
(data (i32.const 1024) "http://127.0.0.1:9/")
(data (i32.const 1088) "{\"error\": }")

(func $provide (param i32)
  (local $left i32)
  (local.set $left (i32.const 1000))
  (loop $more
    (call $send
      (i32.const 0) ;; get
      (i32.const 1024) (i32.const 19) ;; url
      (i32.const 0) (i32.const 0) ;; headers
      (i32.const 0) (i32.const 0) (i32.const 0) ;; body
      (i32.const 0) (i32.const 0) ;; timeout-ms
      (i32.const 0) ;; max-redirects
      (i32.const 512))
    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
    (br_if $more (local.get $left)))
  (call $digit (i32.const 1097) (i32.load8_u (i32.const 520)))
  (call $answer (i32.const 1088) (i32.const 11)))
