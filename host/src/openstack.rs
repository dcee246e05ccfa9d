//! Look-ups at keystone, glance, nova and neutron, for plugins, with the gateway's own account.
//!
//! A plugin asks by id and is told what the service says, without credentials of its own. Each cloud has one `LookUps`: one
//! token, which validations of callers use too, one catalogue, and one memory of what was found, which all its targets
//! share. Who may ask what is for [`Granted`] to say.
//!
//! Equal questions that come together are asked once, and a plugin that gives up does not end the asking for the
//! others. A service that gives no answer is left alone for a moment; what was found before may stand in for it.

mod catalogue;
mod directory;
mod failure;
mod kept;
mod question;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use moka::future::Cache;
use reqwest::Client;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field};

pub use self::failure::Failure;
use self::kept::{AtItsEnd, Kept};
pub use self::question::Question;
use self::wire::Wire;
use crate::auth::{Account, KeystoneError};
use crate::config::{self, LookUp, LookUpGrant, Service};
use crate::error::chain;
use crate::telemetry::metrics::{LookUpMetrics, LookUpOutcome};
use crate::telemetry::traces;
use crate::trust;
use crate::unabandoned::Unabandoned;

/// What a plugin has left when a service did not answer in time, to say so: else the call would end at its deadline
/// with the plugin to blame.
const TIME_TO_REPORT: Duration = Duration::from_millis(50);

/// After a failure, a service is asked again when this is over.
const REST: Duration = Duration::from_millis(500);

/// How long a slow service is waited for while there is something to stand in for its answer, which still counts when it
/// comes later.
const PATIENCE_WITH_A_STAND_IN: Duration = Duration::from_secs(1);

/// The look-ups of one cloud.
pub struct LookUps {
    wire: Wire,
    config: config::OpenStack,
    timeout: Duration,
    places: Semaphore,
    /// By service.
    rests_until: [ArcSwapOption<Instant>; 4],
    kept: Cache<Question, Kept>,
    /// Questions that are being asked, each once. Nothing is kept there.
    flights: Cache<Question, ()>,
    /// Whether it was said already what an account without the role `admin` is not shown.
    hinted: AtomicBool,
    metrics: Arc<LookUpMetrics>,
}

/// What one target may look up.
#[derive(Default)]
pub struct Granted {
    /// None where nothing is granted.
    pub look_ups: Option<Arc<LookUps>>,
    /// What, and of whom.
    pub grants: Vec<LookUpGrant>,
}

/// Why there is no answer, as a plugin may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The service says that there is no such thing.
    NotFound,
    /// Nothing is known; the text is ours.
    Unavailable(String),
}

/// What a look-up came to: JSON, or none when there is no such thing. moka hands it to all who wait.
type Told = Result<Option<Arc<str>>, Arc<Failure>>;

impl LookUps {
    /// Nobody is asked yet: the gateway starts without its cloud.
    ///
    /// # Errors
    ///
    /// When the authority's certificates cannot be had.
    pub fn new(
        keystone: &config::Keystone,
        config: config::OpenStack,
        account: Arc<Account>,
        metrics: Arc<LookUpMetrics>,
    ) -> Result<Arc<Self>, KeystoneError> {
        let auth_url = keystone.auth_url.as_ref();
        let identity = auth_url.ok_or(KeystoneError::Incomplete)?.base();
        let timeout = Duration::from_millis(config.timeout_ms.get().into());
        let mut client = Client::builder()
            // A redirect would carry the token where no catalogue says.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(timeout);
        if let Some(path) = &keystone.ca_file {
            client = client.tls_certs_only(trust::authorities(path)?);
        }
        Ok(Arc::new(Self {
            wire: Wire {
                client: client.build().map_err(KeystoneError::Client)?,
                directory: directory::Directory::new(account.clone(), config.clone(), identity),
                account,
            },
            timeout,
            places: Semaphore::new(config.concurrent_lookups.get()),
            rests_until: Default::default(),
            kept: Cache::builder()
                .max_capacity(config.cache_bytes)
                .weigher(kept::weight)
                .expire_after(AtItsEnd)
                .build(),
            flights: Cache::builder().build(),
            hinted: AtomicBool::new(false),
            config,
            metrics,
        }))
    }

    /// What the service says, or said not long ago, as JSON. It is waited for until shortly before `deadline`.
    ///
    /// # Errors
    ///
    /// When there is no such thing, or nobody says.
    pub async fn look_up(
        self: &Arc<Self>,
        question: Question,
        deadline: Instant,
    ) -> Result<Arc<str>, Error> {
        let kind = question.kind();
        let known = self.kept.get(&question).await;
        if let Some(known) = known.as_ref().filter(|known| known.is_fresh()) {
            self.metrics.ended(kind, LookUpOutcome::Cached);
            return known.answer.clone().ok_or(Error::NotFound);
        }
        // No id: it may be what a plugin made of a tenant's data.
        let span = tracing::info_span!(
            target: traces::SPANS,
            "lookup",
            otel.kind = "client",
            openstack.kind = kind.as_str(),
            outcome = field::Empty,
            otel.status_code = field::Empty,
        );
        let stand_in = known.and_then(|known| known.answer);
        let told = self
            .within(question, deadline, stand_in.is_some())
            .instrument(span.clone())
            .await;
        let (outcome, answer) = match (told, stand_in) {
            (Ok(Some(answer)), _) => (LookUpOutcome::Answered, Ok(answer)),
            (Ok(None), _) => (LookUpOutcome::NotFound, Err(Error::NotFound)),
            (Err(failure), Some(old)) if failure.may_be_bridged() => {
                (LookUpOutcome::Stale, Ok(old))
            }
            (Err(failure), _) => {
                let told = failure.told(kind.service());
                (failure.outcome(), Err(Error::Unavailable(told)))
            }
        };
        span.record("outcome", outcome.as_str());
        if matches!(answer, Err(Error::Unavailable(_))) {
            span.record("otel.status_code", "ERROR");
        }
        self.metrics.ended(kind, outcome);
        answer
    }

    /// A question that was not put to anybody.
    pub(crate) fn turned_away(&self, kind: LookUp, outcome: LookUpOutcome) {
        self.metrics.ended(kind, outcome);
    }

    async fn within(
        self: &Arc<Self>,
        question: Question,
        deadline: Instant,
        has_stand_in: bool,
    ) -> Told {
        let now = Instant::now();
        let mut left = deadline.saturating_duration_since(now + TIME_TO_REPORT);
        if left.is_zero() {
            return Err(Failure::Timeout.into());
        }
        if has_stand_in {
            left = left.min(PATIENCE_WITH_A_STAND_IN);
        }
        let flight = self.clone().fly(question).instrument(Span::current());
        match tokio::time::timeout(left, Unabandoned::new(flight)).await {
            Ok(told) => told,
            Err(_elapsed) => Err(Failure::Timeout.into()),
        }
    }

    /// Asks, together with all who want to know the same.
    async fn fly(self: Arc<Self>, question: Question) -> Told {
        let asking = async {
            // Another flight may have landed since it was looked whether there is an answer.
            let known = self.kept.get(&question).await;
            let told = match known.filter(Kept::is_fresh) {
                Some(known) => Ok(known.answer),
                // Boxed, since what waits for it hands it on several times.
                None => Box::pin(self.ask(&question)).await,
            };
            Err::<(), Told>(told)
        };
        match self.flights.try_get_with_by_ref(&question, asking).await {
            // Nothing is ever kept there.
            Ok(()) => Err(Failure::Resting.into()),
            Err(told) => Arc::unwrap_or_clone(told),
        }
    }

    /// Asks the service, and keeps what it says.
    async fn ask(&self, question: &Question) -> Told {
        let kind = question.kind();
        let service = kind.service();
        let place = tokio::time::timeout(self.timeout, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(Failure::Busy.into());
        };
        let rests_until = &self.rests_until[service as usize];
        let until = rests_until.load_full();
        if until.is_some_and(|until| Instant::now() < *until) {
            return Err(Failure::Resting.into());
        }
        let asked_at = Instant::now();
        let asked = tokio::time::timeout(self.timeout, self.wire.ask(question)).await;
        self.metrics.asked(kind, asked_at.elapsed());
        match asked.unwrap_or(Err(Failure::Timeout)) {
            Ok(found) => {
                self.hint(service, found.as_ref());
                let answer: Option<Arc<str>> = found.map(|found| found.to_string().into());
                let kept = match answer {
                    Some(_) => {
                        let (keep, stale) = (self.config.keep(kind), self.config.stale(kind));
                        Kept::new(answer.clone(), keep, stale)
                    }
                    None => {
                        let believed = Duration::from_millis(self.config.not_found_ms.into());
                        Kept::new(None, believed, Duration::ZERO)
                    }
                };
                self.kept.insert(question.clone(), kept).await;
                Ok(answer)
            }
            Err(failure) => {
                tracing::warn!("a look-up of {} failed: {}", kind.as_str(), chain(&failure));
                if failure.is_of_the_service() {
                    rests_until.store(Some(Arc::new(Instant::now() + REST)));
                }
                if failure.doubts_the_catalogue() {
                    self.wire.directory.doubt(service);
                }
                Err(failure.into())
            }
        }
    }

    /// Without the role `admin`, glance and nova deny that another project's things are there, and neutron leaves its
    /// ports out. Whoever configured it so would search long.
    fn hint(&self, service: Service, found: Option<&Value>) {
        let nothing = match found {
            None => service != Service::Identity,
            Some(found) => found.as_array().is_some_and(Vec::is_empty),
        };
        if nothing && !self.wire.account.is_admin() && !self.hinted.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "{} has no such thing, or does not show it: the gateway's account has not the role admin, and services hide \
                 from it what belongs to other projects",
                service.as_str()
            );
        }
    }
}

impl Granted {
    /// Whether such a thing may be looked up: none if not, and else whether any, or that of the request's own only.
    pub fn scope(&self, kind: LookUp) -> Option<bool> {
        let mut scopes = self.grants.iter().filter(|grant| grant.kind == kind);
        let first = scopes.next()?.any;
        Some(first || scopes.any(|grant| grant.any))
    }
}
