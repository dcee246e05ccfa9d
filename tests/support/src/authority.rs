//! A certificate authority that lives as long as the test.
//!
//! Nothing is written to disk and nothing expires, so no test depends on a certificate that was made
//! some other day.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A throw-away authority. Two of them do not trust each other.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
}

/// A server's certificate and its key, as PEM, for a program that reads them from files.
pub struct Issued {
    /// The certificate, without the authority's own.
    pub certificate_pem: String,
    /// The key, as PKCS#8.
    pub key_pem: String,
}

impl Authority {
    /// Makes an authority with a key of its own.
    #[expect(
        clippy::new_without_default,
        reason = "each is different, which nobody expects of a default"
    )]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "Vendordock stand-ins");
        let key = KeyPair::generate().expect("the system has randomness");
        let ca = params
            .self_signed(&key)
            .expect("the parameters above are complete");
        Self {
            ca_pem: ca.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// What a client must trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Issues a certificate for these names; an IP address among them is known by its form.
    ///
    /// # Panics
    ///
    /// When a name is neither ASCII nor an address.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_to(&[(&[2, 5, 4, 3], "stand-in")], names)
    }

    /// Issues a certificate for a subject, each part of which is an object identifier and a text. A name with a scheme is
    /// a URI.
    ///
    /// # Panics
    ///
    /// When a name is neither ASCII nor an address.
    pub fn issue_to(&self, subject: &[(&[u64], &str)], names: &[&str]) -> Issued {
        let (uris, names): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| name.contains("://"));
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(names).expect("names are ASCII");
        for uri in uris {
            let uri = uri.try_into().expect("names are ASCII");
            params.subject_alt_names.push(SanType::URI(uri));
        }
        params.distinguished_name = DistinguishedName::new();
        for (attribute, value) in subject {
            let attribute = DnType::CustomDnType(attribute.to_vec());
            params.distinguished_name.push(attribute, *value);
        }
        let key = KeyPair::generate().expect("the system has randomness");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("the parameters above are complete");
        Issued {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// How a server with these names speaks TLS: HTTP/1.1 only, as Apache before FreeIPA.
    pub(crate) fn server_config(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.server_config_for(names, None)
    }

    /// The same, for clients that have to show a certificate of that authority, if one is named.
    pub(crate) fn server_config_for(
        &self,
        names: &[&str],
        clients: Option<&Self>,
    ) -> Arc<ServerConfig> {
        let issued = self.issue(names);
        let certificate = PemObject::from_pem_slice(issued.certificate_pem.as_bytes())
            .expect("a certificate was written just now");
        let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes())
            .expect("a key was written just now");
        // Named here, so that no test depends on what its program installed for the process.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions");
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let ca = PemObject::from_pem_slice(authority.ca_pem.as_bytes())
                    .expect("a certificate was written just now");
                roots.add(ca).expect("it is an authority's");
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                config.with_client_cert_verifier(verifier.build().expect("there is an authority"))
            }
        };
        let mut config = config
            .with_single_cert(vec![certificate], key)
            .expect("certificate and key belong together");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}
