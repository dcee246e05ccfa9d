//! Whom to ask: the endpoints of the configuration, or else of the catalogue, which is read once for the whole cloud.
//!
//! Once there is a catalogue, nobody waits for another: it is read again beside the look-ups, when it is old, and soon
//! after a look-up that found nobody where it says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use url::Url;

use super::Failure;
use super::catalogue::{Catalogue, versioned};
use crate::auth::Account;
use crate::config::{OpenStack, Service};
use crate::error::chain;

/// A catalogue that is in doubt is read again no sooner.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// When it could not be read, it is tried again after this.
const NEXT_TRY: Duration = Duration::from_secs(10);

/// The endpoints of one cloud.
pub(super) struct Directory {
    account: Arc<Account>,
    config: OpenStack,
    /// Keystone's own, which is known without a catalogue.
    identity: Url,
    known: ArcSwapOption<Known>,
    first: tokio::sync::Mutex<()>,
    next_try: Mutex<Instant>,
}

struct Known {
    catalogue: Catalogue,
    read_at: Instant,
}

impl Directory {
    pub(super) fn new(account: Arc<Account>, config: OpenStack, identity: Url) -> Arc<Self> {
        Arc::new(Self {
            account,
            config,
            identity,
            known: ArcSwapOption::empty(),
            first: tokio::sync::Mutex::new(()),
            next_try: Mutex::new(Instant::now()),
        })
    }

    /// Where a service's resources are.
    pub(super) async fn find(self: &Arc<Self>, service: Service) -> Result<Url, Failure> {
        if let Some(endpoint) = self.config.endpoints.get(&service) {
            return Ok(versioned(service, endpoint));
        }
        if service == Service::Identity {
            return Ok(self.identity.clone());
        }
        let known = match self.known.load_full() {
            Some(known) => known,
            None => self.first().await?,
        };
        let believed_for = Duration::from_millis(self.config.catalogue_ms.get().into());
        if known.read_at.elapsed() > believed_for {
            self.renew();
        }
        known
            .catalogue
            .find(service, &self.config)
            .map_err(Failure::Endpoint)
    }

    /// Tells that a service was not found where the catalogue says.
    pub(super) fn doubt(self: &Arc<Self>, service: Service) {
        if service != Service::Identity && !self.config.endpoints.contains_key(&service) {
            self.renew();
        }
    }

    /// Reads the catalogue again, beside whatever goes on.
    fn renew(self: &Arc<Self>) {
        let now = Instant::now();
        {
            let mut next_try = self.next_try.lock().unwrap_or_else(PoisonError::into_inner);
            if now < *next_try {
                return;
            }
            *next_try = now + NEXT_TRY;
        }
        let directory = self.clone();
        tokio::spawn(async move {
            if let Err(failure) = directory.read().await {
                tracing::warn!(
                    "look-ups go on with the catalogue as it was: {}",
                    chain(&failure)
                );
            }
        });
    }

    async fn first(&self) -> Result<Arc<Known>, Failure> {
        let _turn = self.first.lock().await;
        match self.known.load_full() {
            Some(known) => Ok(known),
            None => self.read().await,
        }
    }

    async fn read(&self) -> Result<Arc<Known>, Failure> {
        let body = self.account.catalogue().await;
        let body = body.map_err(Failure::NoCatalogue)?;
        let catalogue = Catalogue::read(&body).map_err(Failure::Catalogue)?;
        let read_at = Instant::now();
        let known = Arc::new(Known { catalogue, read_at });
        self.known.store(Some(known.clone()));
        *self.next_try.lock().unwrap_or_else(PoisonError::into_inner) = read_at + LEAST_AGE;
        Ok(known)
    }
}
