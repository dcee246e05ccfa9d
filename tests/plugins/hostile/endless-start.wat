;; Never gets so far as to be called: it loops while it is instantiated.

(start $loop)
(func $loop
  (loop $again
    (br $again)))

(func $provide (param i32))
