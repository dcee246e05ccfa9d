//! The WebAssembly engine: one for the process, with the clock that interrupts its guests.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::bindings::VendordataProvider;
use super::call::Call;
use super::lane;
use super::pool::Pool;
use crate::config::{self, Target};

/// How often a running guest is looked at. A guest that does not return overruns its deadline by one tick at most.
pub(super) const TICK: Duration = Duration::from_millis(2);

const MEMORIES_PER_CALL: u32 = 4;
const TABLES_PER_CALL: u32 = 8;
/// Memory that a slot keeps between calls. With the kernel's page map (Linux 6.7), only what a call wrote is reset,
/// and keeping more costs nothing; without it every kept byte is copied, and less is faster.
const KEEP_RESIDENT_BYTES: usize = 1 << 20;
const KEEP_RESIDENT_WITHOUT_PAGEMAP_BYTES: usize = 64 << 10;

/// Engine and linker that all targets share.
#[derive(Clone)]
pub struct Engine {
    pub(super) engine: wasmtime::Engine,
    pub(super) linker: Arc<Linker<Call>>,
    pub(super) permits: Arc<tokio::sync::Semaphore>,
    /// Where calls go on that compute for long.
    pub(super) lane: Arc<tokio::sync::Semaphore>,
    allocator: Allocator,
}

/// Where instances get their memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allocator {
    /// From slots reserved at start.
    Pooling,
    /// From the operating system at each call, and why.
    OnDemand {
        /// What stands in the way of pooling.
        reason: String,
    },
}

impl std::fmt::Display for Allocator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pooling => formatter.write_str("from a pool"),
            Self::OnDemand { reason } => write!(formatter, "allocated on demand: {reason}"),
        }
    }
}

impl Engine {
    /// Builds the engine and starts its clock.
    ///
    /// # Errors
    ///
    /// When this machine cannot run WebAssembly at all. Without the address space for pooling the engine
    /// falls back to allocating on demand, which [`Self::allocator`] tells.
    pub fn new(config: &config::Engine) -> wasmtime::Result<Self> {
        let calls = config.concurrent_calls.get();
        let (engine, allocator) = if config.pooling {
            let mut pooled = base();
            pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(calls)));
            match wasmtime::Engine::new(&pooled) {
                Ok(engine) => (engine, Allocator::Pooling),
                Err(error) => {
                    let reason = format!("{error:#}");
                    (
                        wasmtime::Engine::new(&base())?,
                        Allocator::OnDemand { reason },
                    )
                }
            }
        } else {
            let reason = "pooling = false under [engine]".to_owned();
            (
                wasmtime::Engine::new(&base())?,
                Allocator::OnDemand { reason },
            )
        };
        start_clock(&engine)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        VendordataProvider::add_to_linker::<_, HasSelf<Call>>(&mut linker, |call| call)?;
        Ok(Self {
            engine,
            linker: Arc::new(linker),
            permits: Arc::new(tokio::sync::Semaphore::new(calls as usize)),
            lane: Arc::new(tokio::sync::Semaphore::new(lane::places(workers()))),
            allocator,
        })
    }

    /// The engine itself, to compile with.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// How full the pool is, for the metrics.
    pub fn pool(&self) -> Pool {
        Pool(self.engine.pooling_allocator_metrics())
    }

    /// Where instances get their memory.
    pub fn allocator(&self) -> &Allocator {
        &self.allocator
    }
}

/// The threads that calls run on.
fn workers() -> usize {
    tokio::runtime::Handle::try_current().map_or_else(
        |_outside| std::thread::available_parallelism().map_or(1, Into::into),
        |runtime| runtime.metrics().num_workers(),
    )
}

/// An engine that compiles what the others run. It has no pool, of which compiled code knows nothing, and no clock.
pub(crate) fn compiling() -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&base())
}

fn base() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        // Always on, and the clock below always runs: a deadline that depends on a setting is one that will be missing.
        .epoch_interruption(true)
        // wasmtime 48 gives its async component model no security fixes, and without it stores are leaner.
        .concurrency_support(false)
        .wasm_memory64(false)
        .relaxed_simd_deterministic(true)
        .memory_init_cow(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20);
    config
}

fn pooling(calls: u32) -> PoolingAllocationConfig {
    let pagemap = PoolingAllocationConfig::is_pagemap_scan_available();
    let keep = if pagemap {
        KEEP_RESIDENT_BYTES
    } else {
        KEEP_RESIDENT_WITHOUT_PAGEMAP_BYTES
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls * Target::MOST_INSTANCES)
        .total_memories(calls * MEMORIES_PER_CALL)
        .total_tables(calls * TABLES_PER_CALL)
        .total_stacks(calls)
        .max_core_instances_per_component(Target::MOST_INSTANCES)
        .max_memories_per_component(MEMORIES_PER_CALL)
        .max_tables_per_component(TABLES_PER_CALL)
        .max_tables_per_module(4)
        .max_memories_per_module(2)
        .table_elements(Target::MOST_TABLE_ELEMENTS)
        .max_component_instance_size(10 << 20)
        .max_core_instance_size(10 << 20)
        .max_memory_size(Target::LARGEST_MEMORY_BYTES)
        .max_unused_warm_slots(calls)
        .linear_memory_keep_resident(keep)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .pagemap_scan(if pagemap { Enabled::Yes } else { Enabled::No });
    pool
}

/// Advances the engine's epoch from a thread of its own: a guest that spins keeps a worker busy, so that no task on
/// the workers could be relied upon. The thread ends with the engine.
fn start_clock(engine: &wasmtime::Engine) -> wasmtime::Result<()> {
    let weak = engine.weak();
    std::thread::Builder::new()
        .name("epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })?;
    Ok(())
}
