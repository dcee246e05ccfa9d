//! A token, as anybody may send one, checked by keystone's public keys: whatever is let through must say what keystone
//! has signed.

#![no_main]

use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::json;
use vendordock::auth::Verifier;
use vendordock::config::{Jws, JwsAlgorithm, JwsMode};

struct Keystone {
    verifier: Verifier,
    token: String,
    _directory: tempfile::TempDir,
}

static KEYSTONE: LazyLock<Keystone> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a directory");
    let key = rcgen::KeyPair::generate().expect("a key");
    std::fs::write(directory.path().join("public.pem"), key.public_key_pem()).expect("a file");
    let signing = EncodingKey::from_ec_der(key.serialized_der());
    let header = Header::new(Algorithm::ES256);
    let claims = json!({"sub": "u1", "iat": 1_700_000_000, "exp": 4_102_444_800_u64, "openstack_project_id": "p1"});
    let token = jsonwebtoken::encode(&header, &claims, &signing).expect("a token");
    let verifier = Verifier::new(&Jws {
        mode: JwsMode::Only,
        public_keys: directory.path().to_owned(),
        algorithms: vec![JwsAlgorithm::ES256],
    });
    Keystone {
        verifier: verifier.expect("one key"),
        token,
        _directory: directory,
    }
});

fuzz_target!(|input: &[u8]| -> Corpus {
    let keystone = &*KEYSTONE;
    // The key is new in each run, and no corpus can hold its tokens: so the input says what to do to one.
    let token = altered(&keystone.token, input);
    match keystone.verifier.verify(&token) {
        Ok(claims) => {
            assert_eq!(claims.user_id, "u1");
            assert_eq!(claims.project_id.as_deref(), Some("p1"));
            assert_eq!(claims.expires_at.unix_timestamp(), 4_102_444_800);
        }
        Err(_refused) => {}
    }
    let _ = keystone.verifier.verify(input);
    Corpus::Keep
});

/// A good token with each triple of the input as: place, place, byte.
fn altered(token: &str, input: &[u8]) -> Vec<u8> {
    let mut token = token.as_bytes().to_vec();
    for alteration in input.chunks_exact(3) {
        let place = usize::from(alteration[0]) * 256 + usize::from(alteration[1]);
        let length = token.len();
        token[place % length] = alteration[2];
    }
    token
}
