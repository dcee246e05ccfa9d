//! The thread that writes.
//!
//! It takes all that waits into one transaction, commits, and only then answers. A job whose caller has gone is not begun.
//! When a transaction fails, nothing of it is there, or all of it is; redb then wants the file opened again, which
//! is tried once a second, with all the checks of a start.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use redb::{Database, StorageError};
use tokio::sync::oneshot;

use super::file::Found;
use super::tables::Tables;
use super::usage::Usage;
use super::{Condition, Error, Shared, now_ms};

/// Jobs that may wait, those among them whose caller has gone. They hold values, so that they are not without bound.
const WAITING: usize = 512;

/// Jobs of one transaction.
const TOGETHER: usize = 256;

/// How long expired entries stay in the file at least as often as not.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How often a file that failed is opened again.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

/// Something to do within a transaction, and whom to tell when that is committed.
pub(super) struct Job(Box<Run>);

type Run = dyn FnOnce(&mut Tables<'_>) -> Result<Answer, StorageError> + Send;

/// Tells the caller what came of his job.
type Answer = Box<dyn FnOnce() + Send>;

/// What the writer is sent.
pub(super) enum Work {
    Job(Job),
    Close(SyncSender<()>),
}

/// Where jobs are put.
pub(super) struct Mailbox(SyncSender<Work>);

struct Writer {
    shared: Weak<Shared>,
    work: Receiver<Work>,
    swept: Instant,
    opened: Instant,
}

impl Job {
    pub(super) fn new<T: Send + 'static>(
        reply: oneshot::Sender<Result<T, Error>>,
        run: impl FnOnce(&mut Tables<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Self {
        Self(Box::new(move |tables| {
            if reply.is_closed() {
                return Ok(Box::new(|| ()));
            }
            match run(tables) {
                Err(Error::Storage(error)) => Err(error),
                outcome => Ok(Box::new(move || {
                    // The caller may have gone by now.
                    let _ = reply.send(outcome);
                })),
            }
        }))
    }
}

impl Mailbox {
    pub(super) fn new() -> (Self, Receiver<Work>) {
        let (sender, receiver) = sync_channel(WAITING);
        (Self(sender), receiver)
    }

    pub(super) fn post(&self, job: Job) -> Result<(), Error> {
        self.0
            .try_send(Work::Job(job))
            .map_err(|error| match error {
                TrySendError::Full(_) => Error::Busy,
                TrySendError::Disconnected(_) => Error::Down,
            })
    }

    /// Waits until the writer has ended, if it does in time.
    pub(super) fn close(&self, most: Duration) -> Result<(), RecvTimeoutError> {
        let (done, waiting) = sync_channel(1);
        match self.0.try_send(Work::Close(done)) {
            Ok(()) => waiting.recv_timeout(most),
            Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(_)) => Err(RecvTimeoutError::Timeout),
        }
    }
}

/// Starts the thread. It ends when it is told to, or nobody has the store any more.
pub(super) fn start(shared: &Arc<Shared>, work: Receiver<Work>) -> std::io::Result<()> {
    let now = Instant::now();
    let mut writer = Writer {
        shared: Arc::downgrade(shared),
        work,
        swept: now,
        opened: now,
    };
    let thread = std::thread::Builder::new().name("state".to_owned());
    thread.spawn(move || while writer.turn().is_continue() {})?;
    Ok(())
}

impl Writer {
    /// Waits for something to do, and does it.
    fn turn(&mut self) -> ControlFlow<()> {
        let first = match self.work.recv_timeout(REOPEN_INTERVAL) {
            Ok(work) => Some(work),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
        };
        let Some(shared) = self.shared.upgrade() else {
            return ControlFlow::Break(());
        };
        let mut jobs = Vec::new();
        let mut close = None;
        for work in first
            .into_iter()
            .chain(self.work.try_iter().take(TOGETHER - 1))
        {
            match work {
                Work::Job(job) => jobs.push(job),
                Work::Close(done) => close = Some(done),
            }
        }
        self.reopen(&shared);
        if !jobs.is_empty() {
            commit(&shared, jobs);
        }
        if let Some(done) = close {
            shared.state().database = Condition::Closed;
            // Whoever waited may use the file, if nobody else has the store; or has lost patience.
            drop(shared);
            let _ = done.send(());
            return ControlFlow::Break(());
        }
        self.sweep(&shared);
        ControlFlow::Continue(())
    }

    fn reopen(&mut self, shared: &Shared) {
        let failed = matches!(shared.state().database, Condition::Failed);
        if !failed || self.opened.elapsed() < REOPEN_INTERVAL {
            return;
        }
        self.opened = Instant::now();
        match shared.place.open(&shared.keys, &shared.key_files) {
            Ok(Found::Store(database, usage)) => {
                let mut state = shared.state();
                state.database = Condition::Works(Arc::new(database));
                state.usage = usage;
                tracing::info!("the state works again");
            }
            Ok(Found::SetAside(damaged)) => {
                let mut state = shared.state();
                state.database = Condition::Closed;
                state.usage = Usage::default();
                tracing::error!(
                    "plugins are refused their state until a backup is put in the place of {}, and the gateway restarted",
                    damaged.display()
                );
            }
            Err(error) => {
                shared.state().failures += 1;
                let error = crate::error::chain(&error);
                tracing::error!("the state cannot be opened again: {error}");
            }
        }
    }

    fn sweep(&mut self, shared: &Shared) {
        if self.swept.elapsed() < SWEEP_INTERVAL {
            return;
        }
        let sweeping = |tables: &mut Tables<'_>| match tables.sweep() {
            Err(Error::Storage(error)) => Err(error),
            outcome => Ok(outcome.unwrap_or(false)),
        };
        let more = transact(shared, sweeping).unwrap_or(false);
        // Whoever waits comes first; the rest follows in the next turn.
        if !more {
            self.swept = Instant::now();
        }
    }
}

/// Does all jobs in one transaction, and answers when it is committed. Without a commit, nobody is answered, which tells
/// the callers enough.
fn commit(shared: &Shared, jobs: Vec<Job>) {
    let doing = |tables: &mut Tables<'_>| jobs.into_iter().map(|job| (job.0)(tables)).collect();
    let answers: Option<Vec<Answer>> = transact(shared, doing);
    for answer in answers.into_iter().flatten() {
        answer();
    }
}

/// One transaction, wholly or not at all.
fn transact<T>(
    shared: &Shared,
    run: impl FnOnce(&mut Tables<'_>) -> Result<T, StorageError>,
) -> Option<T> {
    let database = shared.database()?;
    let mut usage = shared.state().usage.clone();
    // Whatever is wrong with the file must not take this thread, and with it every later write.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        try_transact(shared, &database, &mut usage, run)
    }));
    let failure = match outcome {
        Ok(Ok(done)) => {
            shared.state().usage = usage;
            return Some(done);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_panic) => "redb panicked".to_owned(),
    };
    tracing::error!("the state cannot be written: {failure}");
    shared.fail();
    None
}

fn try_transact<T>(
    shared: &Shared,
    database: &Database,
    usage: &mut Usage,
    run: impl FnOnce(&mut Tables<'_>) -> Result<T, StorageError>,
) -> Result<T, redb::Error> {
    let mut transaction = database.begin_write()?;
    // After one phase, damage to the last commit would look like a crash in the middle of it, and the state before it,
    // which others had been told was over, would be taken for the true one.
    transaction.set_two_phase_commit(true);
    let (done, changed) = {
        let limit_bytes = shared.limit_bytes;
        let mut tables = Tables::open(&transaction, &shared.keys, usage, limit_bytes, now_ms())?;
        let done = run(&mut tables)?;
        (done, tables.is_changed())
    };
    if changed {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(done)
}
