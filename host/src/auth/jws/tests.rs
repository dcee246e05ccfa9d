//! A keystone's key pairs, and a verifier that reads the public ones.

mod directory;
mod tokens;

use std::fs;
use std::path::Path;

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const ALL: [JwsAlgorithm; 3] = [
    JwsAlgorithm::ES256,
    JwsAlgorithm::ES384,
    JwsAlgorithm::EdDSA,
];

/// Keystone's side.
struct Signer {
    pair: KeyPair,
    algorithm: JwsAlgorithm,
}

impl Signer {
    fn new(algorithm: JwsAlgorithm) -> Self {
        let kind = match algorithm {
            JwsAlgorithm::ES256 => &PKCS_ECDSA_P256_SHA256,
            JwsAlgorithm::ES384 => &PKCS_ECDSA_P384_SHA384,
            JwsAlgorithm::EdDSA => &PKCS_ED25519,
        };
        Self {
            pair: KeyPair::generate_for(kind).unwrap(),
            algorithm,
        }
    }

    fn publish(&self, directory: &Path, file: &str) {
        fs::write(directory.join(file), self.pair.public_key_pem()).unwrap();
    }

    /// Signed by this key, whatever header and claims say.
    fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let der = self.pair.serialize_der();
        let (key, algorithm) = match self.algorithm {
            JwsAlgorithm::ES256 => (EncodingKey::from_ec_der(&der), Algorithm::ES256),
            JwsAlgorithm::ES384 => (EncodingKey::from_ec_der(&der), Algorithm::ES384),
            JwsAlgorithm::EdDSA => (EncodingKey::from_ed_der(&der), Algorithm::EdDSA),
        };
        let signature = crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
        format!("{message}.{signature}")
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": name(self.algorithm), "typ": "JWT"});
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    fn token(&self) -> String {
        self.sign(&good())
    }
}

/// The keys that are published, and who reads them.
struct Site {
    directory: TempDir,
    verifier: Arc<Verifier>,
}

impl Site {
    fn new(signers: &[&Signer]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut algorithms = Vec::new();
        for (number, signer) in signers.iter().enumerate() {
            signer.publish(directory.path(), &format!("public-{number}.pem"));
            algorithms.push(signer.algorithm);
        }
        let verifier = Verifier::new(&config(directory.path(), &algorithms)).unwrap();
        Self {
            directory,
            verifier: Arc::new(verifier),
        }
    }

    fn verify(&self, token: impl AsRef<[u8]>) -> Result<Claims, Rejected> {
        self.verifier.verify(token.as_ref())
    }
}

fn config(directory: &Path, algorithms: &[JwsAlgorithm]) -> config::Jws {
    config::Jws {
        mode: config::JwsMode::Filter,
        public_keys: directory.to_owned(),
        algorithms: algorithms.to_vec(),
    }
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// As keystone writes them.
fn good() -> Value {
    json!({
        "sub": "8f1fc4a7ff1b4f6e9b4f7c2d3a5e6b7c",
        "iat": now(),
        "exp": now() + 3600,
        "openstack_methods": ["password"],
        "openstack_audit_ids": ["3T2dc1CGQxyJsHdDu1xkcw"],
        "openstack_project_id": "039d104b7a5c4631b4ba6524d0b9e981",
    })
}

fn public_pem(base64: &str) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n")
}
