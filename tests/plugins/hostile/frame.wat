;; What every plugin of this directory has besides its `$provide`: a manifest, an allocator, an answer. `cargo xtask plugins` puts
;; it behind each file. The numbers are places in memory, laid out as the canonical ABI of the component model wants them:
;;
;;     16  what `describe` returns      512  what imports return
;;    112  what `validate` returns     1024  the file's own data
;;    128  what `provide` returns     65536  what the allocator hands out

(memory (export "memory") 2)

(data (i32.const 16)
  "\00\01\00\00\07\00\00\00" ;; name
  "\08\01\00\00\05\00\00\00" ;; version
  "\10\01\00\00\0a\00\00\00" ;; description
  "\20\01\00\00\02\00\00\00") ;; config-schema; all else is nothing, and nothing is zeros
(data (i32.const 256) "hostile")
(data (i32.const 264) "0.1.0")
(data (i32.const 272) "Misbehaves")
(data (i32.const 288) "{}")

(func (export "vendordock:vendordata/plugin@0.1.0#describe") (result i32)
  i32.const 16)

(func (export "vendordock:vendordata/plugin@0.1.0#validate") (result i32)
  i32.const 112)

;; Without a call of `$answer`, the answer is `{}`.
(func (export "vendordock:vendordata/provider@0.1.0#provide") (param $request i32) (result i32)
  (call $answer (i32.const 288) (i32.const 2))
  (call $provide (local.get $request))
  i32.const 128)

(func $answer (param $start i32) (param $length i32)
  (i32.store (i32.const 132) (local.get $start))
  (i32.store (i32.const 136) (local.get $length)))

;; Writes a number into a text; 9 means more than 8.
(func $digit (param $at i32) (param $number i32)
  (i32.store8
    (local.get $at)
    (i32.add
      (i32.const 48)
      (select (local.get $number) (i32.const 9) (i32.lt_u (local.get $number) (i32.const 9))))))

(global $free (mut i32) (i32.const 65536))

(func (export "cabi_realloc")
  (param $old i32) (param $old-length i32) (param $align i32) (param $length i32) (result i32)
  (local $block i32)
  (local.set $block
    (i32.and
      (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
  (global.set $free (i32.add (local.get $block) (local.get $length)))
  (block $enough
    (loop $more
      (br_if $enough (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
      unreachable))
  (memory.copy (local.get $block) (local.get $old) (local.get $old-length))
  local.get $block)
