;; Fills 48 MiB again and again, by an instruction that looks at no clock before it is done.

(func $provide (param i32)
  (drop (memory.grow (i32.const 768)))
  (loop $again
    (memory.fill (i32.const 65536) (i32.const 120) (i32.const 50331648))
    (br $again)))
