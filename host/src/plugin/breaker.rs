//! A pause for a plugin that fails again and again.
//!
//! Each call of a plugin that hangs keeps a place until its deadline, and nova waits that long for nothing. After some
//! faults in a row, of the plugin itself, its target therefore answers at once, until a call on trial succeeds.
//!
//! nova asks six times for one config drive, and a metadata service asks for ever, so that one instance whose data a plugin
//! cannot bear would soon make as many faults as it takes. So another instance weighs more than another fault. And no
//! tenant is to take a plugin away from the others: what is refused during a pause are calls for projects that a fault
//! is known of. Any other project has a call on trial at once, and if that succeeds, the pause is over for all.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config;
use crate::telemetry::metrics::{RunOutcome, TargetMetrics};

/// What the first fault of an instance weighs. Every further one weighs 1.
const OF_ANOTHER_INSTANCE: u32 = 4;

/// What is remembered of faults. Whoever comes after so many projects is treated as one of them.
const MOST_REMEMBERED: usize = 256;

/// The breaker of one target in one cloud.
pub(super) struct Breaker {
    rules: Option<config::Breaker>,
    /// What [`Faults::state`] says, for calls that need no more than that.
    state: AtomicU8,
    faults: Mutex<Faults>,
    hasher: RandomState,
    metrics: Arc<TargetMetrics>,
}

const NO_FAULTS: u8 = 0;
const SOME_FAULTS: u8 = 1;
const TRIPPED: u8 = 2;

/// What a call may do: run, and then tell how it was.
#[must_use]
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    instance: u64,
    project: u64,
    on_trial: Option<Trial>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// The pause is over.
    Probe,
    /// No fault is known of this project.
    Stranger,
}

/// Why a call may not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the plugin failed again and again, the last time with: {}", .last.as_str())]
pub struct Paused {
    /// How its last call ended.
    pub last: RunOutcome,
    /// When it is worth another try.
    pub wait: Duration,
}

#[derive(Default)]
struct Faults {
    known: Vec<Fault>,
    /// Those of an instance that made one before.
    repeated: Vec<Instant>,
    pause: Option<Pause>,
}

struct Fault {
    instance: u64,
    project: u64,
    at: Instant,
}

struct Pause {
    last: RunOutcome,
    length: Duration,
    until: Instant,
    probing: bool,
    /// Projects with a call on trial.
    strangers: HashSet<u64>,
}

impl Breaker {
    pub(super) fn new(rules: Option<config::Breaker>, metrics: Arc<TargetMetrics>) -> Self {
        Self {
            rules,
            state: AtomicU8::new(NO_FAULTS),
            faults: Mutex::default(),
            hasher: RandomState::new(),
            metrics,
        }
    }

    /// Whether calls are refused now.
    pub(super) fn is_tripped(&self) -> bool {
        self.state.load(Ordering::Relaxed) == TRIPPED
    }

    /// Lets a call run, or says why not.
    pub(super) fn enter(&self, instance_id: &str, project_id: &str) -> Result<Attempt<'_>, Paused> {
        self.enter_at(Instant::now(), instance_id, project_id)
    }

    fn enter_at(
        &self,
        now: Instant,
        instance_id: &str,
        project_id: &str,
    ) -> Result<Attempt<'_>, Paused> {
        let mut attempt = Attempt {
            breaker: self,
            instance: 0,
            project: 0,
            on_trial: None,
        };
        if self.rules.is_none() {
            return Ok(attempt);
        }
        attempt.instance = self.hasher.hash_one(instance_id);
        attempt.project = self.hasher.hash_one(project_id);
        if !self.is_tripped() {
            return Ok(attempt);
        }
        let mut faults = self.faults();
        let is_known = faults.knows(attempt.project);
        let Some(pause) = &mut faults.pause else {
            return Ok(attempt);
        };
        let wait = pause.until.saturating_duration_since(now);
        attempt.on_trial = if !is_known && pause.strangers.insert(attempt.project) {
            Some(Trial::Stranger)
        } else if is_known && wait.is_zero() && !pause.probing {
            pause.probing = true;
            Some(Trial::Probe)
        } else {
            let last = pause.last;
            return Err(Paused { last, wait });
        };
        Ok(attempt)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        // Nothing that panics is done with it.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The plugin did its part, if only to say that somebody else did not.
    pub(super) fn succeeded(self) {
        let breaker = self.breaker;
        if breaker.state.load(Ordering::Relaxed) == NO_FAULTS || breaker.rules.is_none() {
            return;
        }
        let mut faults = breaker.faults();
        // A call that began before the pause says nothing about the plugin as it is now.
        if faults.pause.is_some() && self.on_trial.is_none() {
            return;
        }
        let was_tripped = faults.pause.is_some();
        *faults = Faults::default();
        breaker.state.store(NO_FAULTS, Ordering::Relaxed);
        drop(faults);
        if was_tripped {
            breaker.metrics.breaker_tripped(false);
            tracing::info!("the plugin works again: its pause is over");
        }
    }

    /// The plugin failed.
    pub(super) fn failed(self, outcome: RunOutcome) {
        self.failed_at(Instant::now(), outcome);
    }

    fn failed_at(self, now: Instant, outcome: RunOutcome) {
        let breaker = self.breaker;
        let Some(rules) = breaker.rules else { return };
        let mut faults = breaker.faults();
        if faults.pause.is_none() {
            let window = milliseconds(rules.window_ms);
            faults.forget_before(now.checked_sub(window));
        }
        let weight = faults.add(self.instance, self.project, now);
        let tripping = match &mut faults.pause {
            Some(pause) => {
                pause.last = outcome;
                if self.on_trial == Some(Trial::Probe) {
                    let longest = milliseconds(rules.longest_pause_ms);
                    pause.length = (pause.length * 2).min(longest.max(pause.length));
                    pause.until = now + pause.length;
                    Some(pause.length)
                } else {
                    None
                }
            }
            None if weight >= rules.faults.get().saturating_mul(OF_ANOTHER_INSTANCE) => {
                let length = milliseconds(rules.pause_ms);
                faults.pause = Some(Pause {
                    last: outcome,
                    length,
                    until: now + length,
                    probing: false,
                    strangers: HashSet::new(),
                });
                Some(length)
            }
            None => None,
        };
        let state = if faults.pause.is_some() {
            TRIPPED
        } else {
            SOME_FAULTS
        };
        breaker.state.store(state, Ordering::Relaxed);
        drop(faults);
        if let Some(length) = tripping {
            breaker.metrics.breaker_tripped(true);
            tracing::error!(
                pause_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
                "the plugin failed again and again, the last time with: {}; it is given a pause",
                outcome.as_str()
            );
        }
    }
}

impl Drop for Attempt<'_> {
    /// However the trial ended, another one may begin.
    fn drop(&mut self) {
        let Some(trial) = self.on_trial else { return };
        if let Some(pause) = &mut self.breaker.faults().pause {
            match trial {
                Trial::Probe => pause.probing = false,
                Trial::Stranger => {
                    pause.strangers.remove(&self.project);
                }
            }
        }
    }
}

impl Faults {
    fn knows(&self, project: u64) -> bool {
        self.known.len() >= MOST_REMEMBERED
            || self.known.iter().any(|fault| fault.project == project)
    }

    fn forget_before(&mut self, beginning: Option<Instant>) {
        // A clock that is younger than the window has nothing to forget.
        if let Some(beginning) = beginning {
            self.known.retain(|fault| fault.at >= beginning);
            self.repeated.retain(|at| *at >= beginning);
        }
    }

    /// Remembers a fault; returns what all of them weigh.
    fn add(&mut self, instance: u64, project: u64, at: Instant) -> u32 {
        let same = |fault: &&mut Fault| fault.instance == instance;
        if let Some(fault) = self.known.iter_mut().find(same) {
            fault.at = at;
            if self.repeated.len() < MOST_REMEMBERED {
                self.repeated.push(at);
            }
        } else if self.known.len() < MOST_REMEMBERED {
            self.known.push(Fault {
                instance,
                project,
                at,
            });
        }
        let weight = self.known.len() * OF_ANOTHER_INSTANCE as usize + self.repeated.len();
        u32::try_from(weight).unwrap_or(u32::MAX)
    }
}

fn milliseconds(number: std::num::NonZeroU32) -> Duration {
    Duration::from_millis(number.get().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker(rules: &str) -> Breaker {
        let rules: config::Breaker = toml::from_str(rules).expect("rules");
        Breaker::new(Some(rules), TargetMetrics::unregistered())
    }

    /// Three faults in ten seconds, and a pause of one to five.
    fn usual() -> Breaker {
        breaker("faults = 3\nwindow_ms = 10000\npause_ms = 1000\nlongest_pause_ms = 5000")
    }

    fn fail(breaker: &Breaker, at: Instant, instance: &str, project: &str) {
        let attempt = breaker.enter_at(at, instance, project).expect("it may run");
        attempt.failed_at(at, RunOutcome::Trap);
    }

    fn wait(breaker: &Breaker, at: Instant, project: &str) -> Option<Duration> {
        let refused = breaker.enter_at(at, "new", project).err();
        refused.map(|paused| paused.wait)
    }

    #[test]
    fn faults_of_several_instances_in_a_row_trip_it() {
        let (breaker, now) = (usual(), Instant::now());
        fail(&breaker, now, "i1", "p");
        fail(&breaker, now, "i2", "p");
        assert!(!breaker.is_tripped());
        fail(&breaker, now, "i3", "p");

        assert!(breaker.is_tripped());
        assert_eq!(wait(&breaker, now, "p"), Some(SECOND));
        assert_eq!(wait(&breaker, now + SECOND / 2, "p"), Some(SECOND / 2));
        assert_eq!(wait(&breaker, now + SECOND, "p"), None);
    }

    #[test]
    fn a_success_between_or_time_makes_it_forget() {
        let (breaker, now) = (usual(), Instant::now());
        for round in 0..4 {
            let later = now + 11 * SECOND * round;
            fail(&breaker, later, "i1", "p");
            fail(&breaker, later, "i2", "p");
        }
        assert!(!breaker.is_tripped());

        breaker
            .enter_at(now, "i3", "p")
            .expect("it may")
            .succeeded();
        fail(&breaker, now + 34 * SECOND, "i3", "p");
        assert!(!breaker.is_tripped());
    }

    #[test]
    fn one_instance_alone_needs_four_times_as_many() {
        let (breaker, now) = (usual(), Instant::now());
        for fault in 1..=9 {
            assert!(!breaker.is_tripped(), "after {fault}");
            fail(&breaker, now, "i1", "p");
        }
        assert!(breaker.is_tripped());
    }

    #[test]
    fn each_failed_trial_doubles_the_pause_up_to_its_bound_and_one_is_on_trial_at_a_time() {
        let (breaker, mut now) = (
            breaker("faults = 1\npause_ms = 1000\nlongest_pause_ms = 5000"),
            Instant::now(),
        );
        fail(&breaker, now, "i1", "p");
        for seconds in [1, 2, 4, 5, 5] {
            assert_eq!(wait(&breaker, now, "p"), Some(SECOND * seconds));
            now += SECOND * seconds;
            let probe = breaker.enter_at(now, "i1", "p").expect("a trial");
            assert_eq!(wait(&breaker, now, "p"), Some(Duration::ZERO));
            probe.failed_at(now, RunOutcome::Timeout);
        }
        now += 5 * SECOND;
        let given_up = breaker.enter_at(now, "i1", "p").expect("a trial");
        drop(given_up);
        breaker
            .enter_at(now, "i1", "p")
            .expect("another")
            .succeeded();
        assert!(!breaker.is_tripped());
        fail(&breaker, now, "i1", "p");
        assert_eq!(wait(&breaker, now, "p"), Some(SECOND), "it begins anew");
    }

    #[test]
    fn a_project_without_faults_has_one_call_on_trial_at_once() {
        let (breaker, now) = (breaker("faults = 1"), Instant::now());
        fail(&breaker, now, "i1", "bad");

        let stranger = breaker.enter_at(now, "i2", "good").expect("a trial");
        assert!(
            breaker.enter_at(now, "i3", "good").is_err(),
            "one at a time"
        );
        assert!(breaker.enter_at(now, "i4", "other").is_ok());
        stranger.succeeded();
        assert!(!breaker.is_tripped());

        fail(&breaker, now, "i1", "bad");
        fail(&breaker, now, "i2", "good");
        assert!(breaker.enter_at(now, "i3", "good").is_err(), "known by now");
    }

    #[test]
    fn a_call_that_began_before_the_pause_does_not_end_it() {
        let (breaker, now) = (breaker("faults = 1"), Instant::now());
        let before = breaker.enter_at(now, "i1", "p").expect("it may");
        fail(&breaker, now, "i2", "p");
        before.succeeded();
        assert!(breaker.is_tripped());
    }

    #[test]
    fn what_it_remembers_has_a_bound() {
        let (breaker, now) = (breaker("faults = 1"), Instant::now());
        fail(&breaker, now, "i", "p");
        for number in 0..2 * MOST_REMEMBERED {
            let project = number.to_string();
            if let Ok(attempt) = breaker.enter_at(now, &project, &project) {
                attempt.failed_at(now, RunOutcome::Trap);
            }
        }
        assert_eq!(breaker.faults().known.len(), MOST_REMEMBERED);
        assert!(breaker.enter_at(now, "new", "new").is_err());
    }
}
