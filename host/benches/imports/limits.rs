//! What each limit costs, taken apart from all else: the same small work of a guest with and without it.

use std::hint::black_box;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wasmtime::{Config, Engine, Instance, Module, ResourceLimiter, Store, UpdateDeadline};

use crate::target::microseconds;

/// Writes and sums 64 KiB of memory, as reading a JSON text does; it takes about as long as a small plugin's call.
const WORK: &str = r#"(module
  (memory (export "memory") 4)
  (func (export "grow") (drop (memory.grow (i32.const 1))))
  (func (export "work") (result i32) (local $at i32) (local $sum i32)
    (loop $next
      (i32.store8 (local.get $at) (i32.add (local.get $sum) (local.get $at)))
      (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
      (br_if $next (i32.lt_u
        (local.tee $at (i32.add (local.get $at) (i32.const 4)))
        (i32.const 65536))))
    (local.get $sum)))"#;

const CALLS: u32 = 4_000;

/// As the gateway's own: it counts and compares.
struct Limiter(usize);

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired - current;
        let granted = more <= self.0;
        if granted {
            self.0 -= more;
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= 100_000)
    }
}

/// Microseconds that a call takes longer by each limit, and what the call takes without any.
pub(crate) async fn costs() -> serde_json::Value {
    let bare = work(&Config::new(), false).await;
    let mut epochs = Config::new();
    epochs.epoch_interruption(true);
    let mut fuel = Config::new();
    fuel.consume_fuel(true);
    let more = |with: f64| with - bare;
    let timer = microseconds(CALLS, async || {
        let deadline = Instant::now() + Duration::from_secs(4);
        let waited = timeout_at(deadline, tokio::task::yield_now()).await;
        black_box(waited).expect("seconds are left");
    });
    let yielding = microseconds(CALLS, async || tokio::task::yield_now().await);
    let clock = microseconds(CALLS, async || {
        for _side_of_a_poll in 0..2 {
            black_box(rustix::time::clock_gettime(
                rustix::time::ClockId::ThreadCPUTime,
            ));
        }
    });
    serde_json::json!({
        "without_us": bare,
        "deadline_checks_us": more(work(&epochs, false).await),
        "fuel_instead_us": more(work(&fuel, false).await),
        "memory_and_tables_us": more(work(&Config::new(), true).await),
        "timer_us": timer.await - yielding.await,
        "cpu_clock_us": clock.await,
    })
}

async fn work(config: &Config, limited: bool) -> f64 {
    let engine = Engine::new(config).expect("an engine");
    let module = Module::new(&engine, wat::parse_str(WORK).expect("text")).expect("a module");
    microseconds(CALLS, async || {
        let mut store = Store::new(&engine, Limiter(64 << 20));
        if limited {
            store.limiter(|limiter| limiter);
        }
        // Each fails where the engine was not asked for it.
        let _ = store.set_fuel(u64::MAX);
        store.set_epoch_deadline(1_000_000);
        store.epoch_deadline_callback(|_store| Ok(UpdateDeadline::Continue(1)));
        let instance = Instance::new(&mut store, &module, &[]).expect("an instance");
        let grow = instance.get_typed_func::<(), ()>(&mut store, "grow");
        grow.expect("exported")
            .call(&mut store, ())
            .expect("memory");
        let work = instance.get_typed_func::<(), i32>(&mut store, "work");
        black_box(work.expect("exported").call(&mut store, ()).expect("a sum"));
    })
    .await
}
