//! What one call may take, and what is kept of it while the call runs.
//!
//! Whoever raises a limit wants to know which one it was and how its key is called, and a limit often shows late: a guest
//! that is refused memory gets an ordinary answer from the engine, and dies of it some instructions later. So what was
//! refused is remembered, and the end of a call is held against it.

use std::fmt;
use std::time::Duration;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTableError;

use super::call::{OutOfTime, OverCpuTime};
use crate::config;
use crate::telemetry::metrics::RunOutcome;

/// The limits of one target's calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    pub(super) cpu_time: Duration,
    pub(super) memory_bytes: usize,
    pub(super) table_elements: usize,
    pub(super) instances: u32,
    pub(super) host_call_bytes: usize,
    pub(super) handles: u32,
    pub(super) response_bytes: usize,
    pub(super) response_depth: usize,
    pub(super) log_lines: u32,
    pub(super) log_bytes: usize,
}

/// A limit that ends a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The processor's time.
    CpuTime,
    /// All memories together.
    Memory,
    /// All tables together.
    TableElements,
    /// Core modules.
    Instances,
    /// What is copied out of the guest at once.
    HostCallBytes,
    /// Resources that are open.
    Handles,
    /// How deep calls within the guest may go. The same for all targets.
    Stack,
}

/// A limit that was met, and how far it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Which.
    pub limit: Limit,
    /// What the target allows. None where there is no key for it.
    pub allowed: Option<u64>,
}

impl Limits {
    pub(super) fn new(target: &config::Target) -> Self {
        Self {
            timeout: Duration::from_millis(target.timeout_ms.get().into()),
            cpu_time: Duration::from_millis(target.cpu_time_ms.get().into()),
            memory_bytes: target.memory_bytes,
            table_elements: target.table_elements,
            instances: target.instances.get(),
            host_call_bytes: target.host_call_bytes,
            handles: target.handles.get(),
            response_bytes: target.response_bytes,
            response_depth: target.response_depth.get() as usize,
            log_lines: target.log_lines,
            log_bytes: target.log_bytes,
        }
    }

    /// What the target allows of something.
    pub(super) fn reached(&self, limit: Limit) -> Reached {
        let allowed = match limit {
            Limit::CpuTime => Some(self.cpu_time.as_millis() as u64),
            Limit::Memory => Some(self.memory_bytes as u64),
            Limit::TableElements => Some(self.table_elements as u64),
            Limit::Instances => Some(self.instances.into()),
            Limit::HostCallBytes => Some(self.host_call_bytes as u64),
            Limit::Handles => Some(self.handles.into()),
            Limit::Stack => None,
        };
        Reached { limit, allowed }
    }
}

impl Limit {
    /// Its key in `[targets.NAME]`.
    pub fn key(self) -> Option<&'static str> {
        match self {
            Self::CpuTime => Some("cpu_time_ms"),
            Self::Memory => Some("memory_bytes"),
            Self::TableElements => Some("table_elements"),
            Self::Instances => Some("instances"),
            Self::HostCallBytes => Some("host_call_bytes"),
            Self::Handles => Some("handles"),
            Self::Stack => None,
        }
    }

    /// The word in the metrics.
    pub(super) fn outcome(self) -> RunOutcome {
        match self {
            Self::CpuTime => RunOutcome::CpuTime,
            Self::Memory => RunOutcome::Memory,
            Self::TableElements => RunOutcome::TableElements,
            Self::Instances => RunOutcome::Instances,
            Self::HostCallBytes => RunOutcome::HostCallBytes,
            Self::Handles => RunOutcome::Handles,
            Self::Stack => RunOutcome::Stack,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::CpuTime => "exceeded its CPU time",
            Self::Memory => "was refused more memory",
            Self::TableElements => "was refused more elements in its tables",
            Self::Instances => "consists of too many core instances",
            Self::HostCallBytes => "gave the gateway more to copy than it may at once",
            Self::Handles => "opened more resources than it may hold",
            Self::Stack => "called itself too deep, and its stack overflowed",
        }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.limit.what())?;
        match (self.limit.key(), self.allowed) {
            (Some(key), Some(allowed)) => write!(formatter, " ({key} = {allowed})"),
            _ => Ok(()),
        }
    }
}

/// What a call has taken. Counts all instances of the store together: a component may have several.
#[derive(Debug)]
pub(super) struct Taken {
    most: Limits,
    memory_bytes: usize,
    table_elements: usize,
    refused: Option<Limit>,
}

impl Taken {
    pub(super) fn none_yet(most: Limits) -> Self {
        Self {
            most,
            memory_bytes: 0,
            table_elements: 0,
            refused: None,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The limit that a call died of, if it was one. wasmtime has no types for some of its own; a test for each keeps
    /// watch over their texts.
    pub(super) fn limit_behind(&self, error: &wasmtime::Error) -> Option<Limit> {
        if error.is::<OutOfTime>() {
            return None;
        }
        if error.is::<OverCpuTime>() {
            return Some(Limit::CpuTime);
        }
        if let Some(wasmtime::Trap::StackOverflow) = error.downcast_ref() {
            return Some(Limit::Stack);
        }
        let full = |cause: &(dyn std::error::Error + 'static)| {
            matches!(cause.downcast_ref(), Some(ResourceTableError::Full))
        };
        if error.chain().any(full) {
            return Some(Limit::Handles);
        }
        let cause = error.root_cause().to_string();
        for (text, limit) in [
            ("store handle limit exceeded", Limit::Handles),
            ("fuel allocated for hostcalls", Limit::HostCallBytes),
            ("instance count too high", Limit::Instances),
        ] {
            if cause.contains(text) {
                return Some(limit);
            }
        }
        self.refused
    }

    fn take(
        taken: &mut usize,
        (current, desired): (usize, usize),
        most: usize,
        largest: usize,
    ) -> bool {
        let after = taken.saturating_add(desired.saturating_sub(current));
        if after > most || desired > largest {
            return false;
        }
        *taken = after;
        true
    }
}

impl ResourceLimiter for Taken {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let most = self.most.memory_bytes;
        let largest = config::Target::LARGEST_MEMORY_BYTES;
        let granted = Self::take(&mut self.memory_bytes, (current, desired), most, largest);
        if !granted {
            self.refused = Some(Limit::Memory);
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let most = self.most.table_elements;
        let largest = config::Target::MOST_TABLE_ELEMENTS;
        let granted = Self::take(&mut self.table_elements, (current, desired), most, largest);
        if !granted {
            self.refused = Some(Limit::TableElements);
        }
        Ok(granted)
    }

    fn instances(&self) -> usize {
        self.most.instances as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken() -> Taken {
        let target: config::Target = toml::from_str(
            "component = \"x.wasm\"\nmemory_bytes = 300\ntable_elements = 10\ntimeout_ms = 1",
        )
        .expect("a target");
        Taken::none_yet(Limits::new(&target))
    }

    #[test]
    fn all_memories_and_all_tables_of_a_call_count_together_and_what_is_refused_takes_nothing() {
        let mut taken = taken();

        assert!(taken.memory_growing(0, 100, None).expect("no error"));
        assert!(taken.memory_growing(0, 100, None).expect("no error"));
        assert!(!taken.memory_growing(100, 300, None).expect("no error"));
        assert!(taken.memory_growing(100, 200, None).expect("no error"));
        assert_eq!(taken.memory_bytes(), 300);
        assert!(!taken.memory_growing(0, usize::MAX, None).expect("no error"));

        assert!(taken.table_growing(0, 6, None).expect("no error"));
        assert!(!taken.table_growing(0, 6, None).expect("no error"));
        assert!(taken.table_growing(6, 10, None).expect("no error"));
    }

    #[test]
    fn a_trap_after_a_refusal_is_blamed_on_it_and_any_other_is_not() {
        let trap = || wasmtime::Error::from(wasmtime::Trap::UnreachableCodeReached);
        let mut taken = taken();

        assert_eq!(taken.limit_behind(&trap()), None);
        assert!(!taken.memory_growing(0, 301, None).expect("no error"));
        assert_eq!(taken.limit_behind(&trap()), Some(Limit::Memory));
        assert_eq!(taken.limit_behind(&OutOfTime.into()), None);
        assert_eq!(
            taken.limit_behind(&OverCpuTime.into()),
            Some(Limit::CpuTime)
        );
        let full = wasmtime::Error::from(ResourceTableError::Full).context("pushing a stream");
        assert_eq!(taken.limit_behind(&full), Some(Limit::Handles));
    }

    #[test]
    fn a_limit_that_was_met_names_its_key_and_its_value() {
        let reached = |limit| taken().most.reached(limit).to_string();
        insta::assert_snapshot!(reached(Limit::CpuTime), @"exceeded its CPU time (cpu_time_ms = 1000)");
        insta::assert_snapshot!(reached(Limit::Memory), @"was refused more memory (memory_bytes = 300)");
        insta::assert_snapshot!(reached(Limit::Stack), @"called itself too deep, and its stack overflowed");
    }
}
