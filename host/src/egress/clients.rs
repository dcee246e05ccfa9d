//! The clients of one target, each with connections of its own.
//!
//! A connection that was made with one secret must not carry a request with another, nor one without: an upstream may have
//! tied the connection to who logged in on it. So each version of a credential has its own clients (`secret.rs`), and requests
//! without a credential have others. Rules that make connections alike share theirs.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client, Identity};

use super::resolver::{Names, Resolver};
use super::secret::Own;
use super::{Credential, Error, Scheme};
use crate::config::{self, ClientIdentity, Connection, Origin};
use crate::trust;

/// Idle connections that are kept for each origin, and for how long.
const IDLE_CONNECTIONS: usize = 16;
const IDLE_TIME: Duration = Duration::from_secs(60);

/// See above.
pub(super) struct Clients(Vec<Way>);

/// One way to make connections, with its files read.
struct Way {
    connection: Connection,
    maker: Maker,
    anonymous: Client,
}

struct Maker {
    resolver: Arc<Resolver>,
    connect_timeout: Duration,
    certificates: Option<Vec<Certificate>>,
    identity: Option<Identity>,
}

impl Clients {
    /// Reads the certificates of all rules, and makes the clients that need no credential.
    pub(super) fn new(target: &config::Target, names: &Arc<Names>) -> Result<Self, Error> {
        let of_target = target.ca_file.as_deref().map(trust::authorities);
        let of_target = of_target.transpose()?;
        let mut ways: Vec<Way> = Vec::new();
        for rule in &target.egress {
            if !ways.iter().any(|way| way.connection == rule.connection) {
                ways.push(Way::new(
                    &rule.connection,
                    of_target.as_ref(),
                    names.clone(),
                )?);
            }
        }
        Ok(Self(ways))
    }

    /// The client for a rule's connections and what is sent on them.
    pub(super) fn get(
        &self,
        connection: &Connection,
        auth: Option<(&Credential, &Scheme)>,
        origin: &Origin,
    ) -> Result<Client, Error> {
        let mut ways = self.0.iter();
        let index = ways.position(|way| way.connection == *connection);
        let index = index.expect("each rule has its way");
        let way = &self.0[index];
        let Some((credential, scheme)) = auth else {
            return Ok(way.anonymous.clone());
        };
        // Made when it is first used: a rotation makes a new version of a credential while we run.
        credential.client(scheme, origin, index, |own| way.maker.client(own))
    }
}

impl Way {
    fn new(
        connection: &Connection,
        of_target: Option<&Vec<Certificate>>,
        names: Arc<Names>,
    ) -> Result<Self, Error> {
        let own = connection.ca_file.as_deref().map(trust::authorities);
        let own = own.transpose().map_err(Error::RuleTrust)?;
        let files = connection.client_certificate.as_ref();
        let networks = connection.networks.clone();
        let maker = Maker {
            resolver: Arc::new(Resolver { names, networks }),
            connect_timeout: Duration::from_millis(connection.connect_timeout_ms.get().into()),
            certificates: own.or_else(|| of_target.cloned()),
            identity: files.map(identity).transpose()?,
        };
        Ok(Self {
            connection: connection.clone(),
            anonymous: maker.client(Own::default())?,
            maker,
        })
    }
}

impl Maker {
    /// The one place where a client is made.
    fn client(&self, own: Own) -> Result<Client, Error> {
        let mut builder = Client::builder()
            // Redirects are followed by `egress`, which checks each; and the environment's proxies are no rule of the target's.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .dns_resolver(self.resolver.clone())
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIME)
            .connect_timeout(self.connect_timeout);
        if let Some(certificates) = &self.certificates {
            builder = builder.tls_certs_only(certificates.clone());
        }
        // The plugin chose its own for this request, where it has one.
        if let Some(identity) = own.identity.or_else(|| self.identity.clone()) {
            builder = builder.identity(identity);
        }
        if let Some(session) = own.session {
            builder = builder.cookie_provider(session);
        }
        builder.build().map_err(Error::Client)
    }
}

/// Reads a client certificate and its key.
pub(super) fn identity(files: &ClientIdentity) -> Result<Identity, Error> {
    let mut pem = Vec::new();
    for path in [&files.certificate_file, &files.key_file] {
        let text = std::fs::read(path).map_err(|source| Error::Unreadable {
            path: path.clone(),
            source,
        })?;
        pem.extend(text);
        pem.push(b'\n');
    }
    Identity::from_pem(&pem).map_err(|source| Error::Identity {
        certificate_file: files.certificate_file.clone(),
        key_file: files.key_file.clone(),
        source,
    })
}
