//! What one call of a plugin owns: its grants, its deadline, its limits. Nothing of it outlives the call.

use std::sync::Arc;

use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::WasiHttpCtxView;

use super::cpu_time::Clock;
use super::grants::Grants;
use super::host::{LogBudget, StateSpent, WasiHttp};
use super::limits::Taken;
use super::stderr::Tail;
use crate::egress::{Spending, Within};

/// The store's data.
pub(super) struct Call {
    pub(super) grants: Arc<Grants>,
    pub(super) phase: Phase,
    pub(super) deadline: Instant,
    /// Of the request that it answers; none while the plugin is loaded.
    pub(super) request_id: Option<Arc<str>>,
    /// For requests to upstreams.
    pub(super) traceparent: Option<Arc<str>>,
    pub(super) table: ResourceTable,
    pub(super) log: LogBudget,
    pub(super) taken: Taken,
    pub(super) cpu_clock: Arc<Clock>,
    /// What the guest wrote to standard output and error, if it has these at all.
    pub(super) tail: Option<Tail>,
    /// Made when a guest first sends a request.
    spending: Option<Arc<Spending>>,
    pub(super) state: StateSpent,
    pub(super) look_ups: u32,
    /// For whom the call is made; none where nothing may be looked up.
    pub(super) subject: Option<Subject>,
    /// Made when a guest first asks for it: ours never do, and it costs more than their whole start.
    wasi: Option<WasiCtx>,
    /// The same.
    wasi_http: Option<Box<WasiHttp>>,
}

/// The instance that a call is made for, and what it is and has at the cloud's services, by their ids.
pub(super) struct Subject {
    pub(super) instance_id: String,
    pub(super) project_id: String,
    pub(super) image_id: Option<String>,
}

/// Which export is running, and so which imports may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing may be called.
    Describe,
    /// `config` and `log` may.
    Validate,
    /// Everything that is granted may.
    Provide,
}

/// An import was called from an export that has to be pure.
#[derive(Debug, thiserror::Error)]
#[error("{import} may not be called from {phase:?}")]
struct Impure {
    import: &'static str,
    phase: Phase,
}

/// The guest was still running at its deadline.
#[derive(Debug, thiserror::Error)]
#[error("the plugin was still running at its deadline")]
pub(super) struct OutOfTime;

/// The guest computed for longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("it was interrupted")]
pub(super) struct OverCpuTime;

impl Call {
    pub(super) fn store(
        engine: &wasmtime::Engine,
        grants: Arc<Grants>,
        phase: Phase,
        traceparent: Option<Arc<str>>,
        deadline: Instant,
    ) -> Store<Self> {
        let mut table = ResourceTable::new();
        let limits = grants.limits;
        table.set_max_capacity(limits.handles as usize);
        let call = Self {
            taken: Taken::none_yet(limits),
            log: LogBudget::new(&limits),
            grants,
            phase,
            deadline,
            request_id: None,
            traceparent,
            table,
            cpu_clock: Arc::default(),
            tail: None,
            spending: None,
            state: StateSpent::default(),
            look_ups: 0,
            subject: None,
            wasi: None,
            wasi_http: None,
        };
        let mut store = Store::new(engine, call);
        store.limiter(|call| &mut call.taken);
        store.set_hostcall_fuel(limits.host_call_bytes);
        store.set_max_component_handles(limits.handles as usize);
        // Look at the clocks after each tick. Giving way lets the timeout around the call fire, and other calls run.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |context| {
            let call = context.data();
            if Instant::now() >= call.deadline {
                return Err(OutOfTime.into());
            }
            // At load there is a deadline only: a language's runtime may have much to do there, and does it once.
            if call.phase == Phase::Provide && call.cpu_clock.so_far() >= limits.cpu_time {
                return Err(OverCpuTime.into());
            }
            Ok(UpdateDeadline::YieldCustom(
                1,
                Box::pin(tokio::task::yield_now()),
            ))
        });
        store
    }

    /// What the call leaves to its requests.
    pub(super) fn within(&mut self) -> Within {
        let limits = &self.grants.egress_limits;
        let spending = self
            .spending
            .get_or_insert_with(|| Arc::new(Spending::new(limits)));
        Within {
            spending: spending.clone(),
            traceparent: self.traceparent.clone(),
            deadline: self.deadline,
        }
    }

    /// What the guest has of `wasi:http`.
    pub(super) fn wasi_http(&mut self) -> WasiHttpCtxView<'_> {
        if self.wasi_http.is_none() {
            let made = WasiHttp::new(self.grants.clone(), self.phase, self.within());
            self.wasi_http = Some(Box::new(made));
        }
        let wasi_http = self.wasi_http.as_mut().expect("it was just made");
        wasi_http.view(&mut self.table)
    }

    /// Traps unless the running export may call imports of this kind.
    pub(super) fn allow(&self, import: &'static str, least: Phase) -> wasmtime::Result<()> {
        let allowed = match least {
            Phase::Describe => true,
            Phase::Validate => self.phase != Phase::Describe,
            Phase::Provide => self.phase == Phase::Provide,
        };
        if allowed {
            Ok(())
        } else {
            let phase = self.phase;
            Err(Impure { import, phase }.into())
        }
    }
}

impl WasiView for Call {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // No files, sockets, arguments or environment: a language runtime links, and finds nothing.
        let tail = &mut self.tail;
        let ctx = self.wasi.get_or_insert_with(|| {
            let tail = tail.insert(Tail::default());
            WasiCtx::builder()
                .max_random_size(64 << 10)
                .stdout(tail.clone())
                .stderr(tail.clone())
                .build()
        });
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}
