;; Answers with ten thousand objects, one in the other. What reads JSON by recursion dies of it.

(data (i32.const 1024) "{\"a\":")

(func $provide (param i32)
  (local $at i32)
  (local.set $at (i32.const 1024))
  (loop $more
    (memory.copy (local.get $at) (i32.const 1024) (i32.const 5))
    (local.set $at (i32.add (local.get $at) (i32.const 5)))
    (br_if $more (i32.lt_u (local.get $at) (i32.const 51024))))
  (i32.store8 (local.get $at) (i32.const 49))
  (local.set $at (i32.add (local.get $at) (i32.const 1)))
  (memory.fill (local.get $at) (i32.const 125) (i32.const 10000))
  (call $answer (i32.const 1024) (i32.const 60001)))
