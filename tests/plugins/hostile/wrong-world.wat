;; A component whose provider is none of ours: its `provide` takes nothing and gives nothing.
(component
  (core module $module (func (export "provide")))
  (core instance $instance (instantiate $module))
  (func $provide (canon lift (core func $instance "provide")))
  (instance $provider (export "provide" (func $provide)))
  (export "vendordock:vendordata/provider@0.1.0" (instance $provider)))
