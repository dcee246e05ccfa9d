//! What one call of a plugin owns: its grants, its deadline, its limits. Nothing of it outlives the call.

use std::sync::Arc;

use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::engine::{LARGEST_MEMORY_BYTES, LARGEST_TABLE_ELEMENTS};
use super::grants::Grants;

/// Data that a guest may have the host copy within one host call (arguments and results).
const HOST_CALL_BYTES: usize = 8 << 20;

/// Resources (credential handles, WASI streams) that one call may hold at once.
const MOST_RESOURCES: usize = 1_000;

/// The store's data.
pub(super) struct Call {
    pub(super) grants: Arc<Grants>,
    pub(super) phase: Phase,
    pub(super) deadline: Instant,
    /// For requests to upstreams.
    pub(super) traceparent: Option<Arc<str>>,
    pub(super) table: ResourceTable,
    pub(super) log_lines: u32,
    pub(super) requests: u32,
    memory: Memory,
    /// Made when a guest first asks for it: ours never do, and it costs more than their whole start.
    wasi: Option<WasiCtx>,
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

impl Call {
    pub(super) fn store(
        engine: &wasmtime::Engine,
        grants: Arc<Grants>,
        phase: Phase,
        traceparent: Option<Arc<str>>,
        deadline: Instant,
    ) -> Store<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MOST_RESOURCES);
        let call = Self {
            memory: Memory {
                left_bytes: grants.memory_bytes,
            },
            grants,
            phase,
            deadline,
            traceparent,
            table,
            log_lines: 0,
            requests: 0,
            wasi: None,
        };
        let mut store = Store::new(engine, call);
        store.limiter(|call| &mut call.memory);
        store.set_hostcall_fuel(HOST_CALL_BYTES);
        // Look at the clock after each tick. Giving way lets the timeout around the call fire, and other calls run.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            if Instant::now() >= context.data().deadline {
                return Err(OutOfTime.into());
            }
            Ok(UpdateDeadline::YieldCustom(
                1,
                Box::pin(tokio::task::yield_now()),
            ))
        });
        store
    }

    /// What the guest has in all its memories.
    pub(super) fn memory_bytes(&self) -> u64 {
        (self.grants.memory_bytes - self.memory.left_bytes) as u64
    }

    /// Says how many log lines of the call were left out.
    pub(super) fn report_dropped_lines(&self) {
        let dropped = self.log_lines.saturating_sub(super::host::MOST_LOG_LINES);
        if dropped > 0 {
            tracing::warn!(dropped, "the plugin logged more lines than one call may");
        }
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
        let ctx = self
            .wasi
            .get_or_insert_with(|| WasiCtx::builder().max_random_size(64 << 10).build());
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}

/// Counts the memory of all instances of the store together: a component may have several.
struct Memory {
    left_bytes: usize,
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if more > self.left_bytes || desired > LARGEST_MEMORY_BYTES {
            return Ok(false);
        }
        self.left_bytes -= more;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= LARGEST_TABLE_ELEMENTS)
    }
}
