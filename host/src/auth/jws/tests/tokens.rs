//! Which tokens are good.

use rcgen::PublicKeyData as _;

use super::*;

/// What keystone 30 makes with these keys, signed by PyJWT.
const KEYSTONES: [(JwsAlgorithm, &str, &str); 3] = [
    (
        JwsAlgorithm::ES256,
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhCQQv6iojkNdTj67fqpfgVK6fvqwhP3DYDBlQDWOg+ZBCZ4+Z1po\
         RGkr14ZYkYI28RWf0JG39JB+3lrcGpg7iw==",
        "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.\
         eyJzdWIiOiJ1IiwiaWF0IjoxLCJleHAiOjQxMDI0NDQ4MDAsIm9wZW5zdGFja19wcm9qZWN0X2lkIjoicCJ9.\
         fQkI7Itaio1Gp1qECokroztxOMTqUhdIym4ev_z1JvkXfWcCUC1TuuOKiTRaAJ32j3HTG-RXVeJ36iCsT3iL_Q",
    ),
    (
        JwsAlgorithm::ES384,
        "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAErin2z0WxMjwOKC47rq2QiNpd/sWjOvoSCkVlMe0q3TpE9mPQaxKX12q3\
         LdvPKpb1a55pAttdDUwDnbDNtcJx7Nro5e2s17BVtu7EDkgi+3yTRoCg9q9hSvWI4oGcISwO",
        "eyJhbGciOiJFUzM4NCIsInR5cCI6IkpXVCJ9.\
         eyJzdWIiOiJ1IiwiaWF0IjoxLCJleHAiOjQxMDI0NDQ4MDAsIm9wZW5zdGFja19wcm9qZWN0X2lkIjoicCJ9.\
         1N6X0AETFdm02m7q1zRxb-L6_HRxbF8pN6j-KAHCPYy3LtwrTVxp0AszOXyfUzELIFJGCCZj01rQiwO8DVPzDAOcSDQ9\
         nsZGitGPNuomMoLw4rLAmz4GMuIH2IcDJq07",
    ),
    (
        JwsAlgorithm::EdDSA,
        "MCowBQYDK2VwAyEARgZMYes4Qme2Xm8H32/vHCpmXBzNh/vDNgMCqk7/1Ag=",
        "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.\
         eyJzdWIiOiJ1IiwiaWF0IjoxLCJleHAiOjQxMDI0NDQ4MDAsIm9wZW5zdGFja19wcm9qZWN0X2lkIjoicCJ9.\
         WrhVb6k3bix_80OCFTTipOQXAZktp_WLMQJajUaB_YOR5g846-8gK2wvABQkjFhF5i0N-WO4TwwbpI-5_DOHCg",
    ),
];

/// The good claims with one of them changed; null takes it out.
fn with(claim: &str, value: Value) -> Value {
    let mut claims = good();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(claim),
        value => claims.as_object_mut().unwrap().insert(claim.into(), value),
    };
    claims
}

#[test]
fn a_good_token_tells_its_user_project_and_expiry() {
    for algorithm in ALL {
        let signer = Signer::new(algorithm);
        let site = Site::new(&[&signer]);
        let claims = good();

        let verified = site.verify(signer.sign(&claims)).unwrap();

        assert_eq!(verified.user_id, claims["sub"]);
        assert_eq!(
            verified.project_id.as_deref().unwrap(),
            claims["openstack_project_id"]
        );
        assert_eq!(verified.expires_at.unix_timestamp(), claims["exp"]);
    }
}

#[test]
fn what_keystone_writes_is_read() {
    let directory = tempfile::tempdir().unwrap();
    for (algorithm, key, _) in KEYSTONES {
        let file = format!("{algorithm:?}.pem");
        fs::write(directory.path().join(file), public_pem(key)).unwrap();
    }
    let verifier = Verifier::new(&config(directory.path(), &ALL)).unwrap();

    for (algorithm, _, token) in KEYSTONES {
        let claims = verifier.verify(token.as_bytes());
        assert_eq!(
            claims.map(|claims| claims.user_id),
            Ok("u".to_owned()),
            "{algorithm:?}"
        );
    }
}

#[test]
fn each_key_of_the_right_kind_is_tried_and_no_other() {
    let signers = [ALL, ALL]
        .as_flattened()
        .iter()
        .map(|kind| Signer::new(*kind));
    let signers: Vec<Signer> = signers.collect();
    let site = Site::new(&signers.iter().collect::<Vec<_>>());
    for signer in &signers {
        assert!(site.verify(signer.token()).is_ok());
        for algorithm in ALL.iter().filter(|other| **other != signer.algorithm) {
            let header = json!({"alg": name(*algorithm)}).to_string();
            let token = signer.sign_text(&header, &good().to_string());
            assert_eq!(site.verify(token), Err(Rejected::Signature));
        }
    }
}

#[test]
fn an_algorithm_that_is_not_configured_is_refused_though_its_key_is_there() {
    let (es256, es384) = (
        Signer::new(JwsAlgorithm::ES256),
        Signer::new(JwsAlgorithm::ES384),
    );
    let site = Site::new(&[&es256]);
    es384.publish(site.directory.path(), "es384.pem");
    let verifier = Verifier::new(&config(site.directory.path(), &[JwsAlgorithm::ES256])).unwrap();

    assert!(verifier.verify(es256.token().as_bytes()).is_ok());
    let refused = verifier.verify(es384.token().as_bytes());
    assert_eq!(refused, Err(Rejected::Algorithm));
}

#[test]
fn a_token_that_is_signed_with_what_everyone_knows_is_refused() {
    for signer in ALL.map(Signer::new) {
        let site = Site::new(&[&signer]);
        let pem = signer.pair.public_key_pem();
        let secrets = [
            pem.as_bytes(),
            pem.trim_end().as_bytes(),
            &signer.pair.subject_public_key_info(),
            signer.pair.der_bytes(),
        ];
        for secret in secrets {
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                for claimed in [json!(algorithm), json!(name(signer.algorithm))] {
                    let header = json!({"alg": claimed, "typ": "JWT"}).to_string();
                    let message = [header, good().to_string()]
                        .map(|part| BASE64.encode(part))
                        .join(".");
                    let key = EncodingKey::from_secret(secret);
                    let signature = crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
                    let refused = site.verify(format!("{message}.{signature}"));
                    assert!(matches!(
                        refused,
                        Err(Rejected::Algorithm | Rejected::Signature)
                    ));
                }
            }
        }
    }
}

#[test]
fn no_other_algorithm_is_known_by_whatever_spelling() {
    let signer = Signer::new(JwsAlgorithm::ES256);
    let site = Site::new(&[&signer]);
    for alg in [
        "none", "None", "NONE", "", "HS256", "HS512", "RS256", "PS256", "ES512", "ES256K", "es256",
        "ES256 ", "EdDSA", "ES384",
    ] {
        let header = json!({"alg": alg}).to_string();
        let signed = signer.sign_text(&header, &good().to_string());
        assert_eq!(site.verify(&signed), Err(Rejected::Algorithm), "{alg}");
        let (message, _) = signed.rsplit_once('.').unwrap();
        assert_eq!(
            site.verify(format!("{message}.")),
            Err(Rejected::Algorithm),
            "{alg}"
        );
    }
    for header in [
        r#"{}"#,
        r#"{"alg": null}"#,
        r#"{"alg": ["ES256"]}"#,
        r#"{"alg": "none", "alg": "ES256"}"#,
        r#"{"alg": "ES256", "alg": "ES256"}"#,
        r#"{"alg": "ES256", "crit": ["exp"]}"#,
        r#"{"alg": "ES256", "crit": []}"#,
        r#"{"alg": "ES256", "crit": null}"#,
        "",
        "ES256",
    ] {
        let token = signer.sign_text(header, &good().to_string());
        assert_eq!(site.verify(token), Err(Rejected::NotJws), "{header}");
    }
    // What a header offers besides is not taken.
    let header =
        r#"{"alg": "ES256", "kid": "../../etc/passwd", "jku": "https://example.test", "typ": 1}"#;
    assert!(
        site.verify(signer.sign_text(header, &good().to_string()))
            .is_ok()
    );
}

#[test]
fn a_token_of_which_any_part_is_altered_is_refused() {
    for signer in ALL.map(Signer::new) {
        let site = Site::new(&[&signer]);
        let token = signer.token();
        for position in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[position] = if altered[position] == b'A' {
                b'B'
            } else {
                b'A'
            };
            assert!(site.verify(altered).is_err(), "{position}");
        }
        let parts: Vec<&str> = token.split('.').collect();
        let other = Signer::new(signer.algorithm).token();
        let other: Vec<&str> = other.split('.').collect();
        assert_eq!(
            site.verify(format!("{}.{}.", parts[0], parts[1])),
            Err(Rejected::Signature)
        );
        assert_eq!(site.verify(other.join(".")), Err(Rejected::Signature));
        assert_eq!(
            site.verify(format!("{}.{}.{}", parts[0], parts[1], other[2])),
            Err(Rejected::Signature)
        );
        // The one signature that ECDSA would take for every message, by a library that does not look.
        let zeros = BASE64.encode(vec![0; BASE64.decode(parts[2]).unwrap().len()]);
        assert_eq!(
            site.verify(format!("{}.{}.{zeros}", parts[0], parts[1])),
            Err(Rejected::Signature)
        );
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let signer = Signer::new(JwsAlgorithm::ES256);
    let site = Site::new(&[&signer]);
    let token = signer.token();
    let long = signer.sign(&with("more", "x".repeat(8 * 1024).into()));
    let mut refused = vec![
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "gAAAAABgarbage".to_owned(),
        "é.é.é".to_owned(),
        long,
        ".".repeat(1024 * 1024),
        format!("{token}{}", "A".repeat(1024 * 1024)),
        format!("{token}."),
        format!("{token}.{token}"),
        format!(".{token}"),
        format!("{token}="),
        format!("{token}\n"),
        format!(" {token}"),
        token.replace('.', " "),
        token.replacen('.', "=.", 1),
    ];
    // The same bytes in other base64: one token has one text.
    for (number, part) in token.split('.').enumerate() {
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        parts[number] = format!("{part}/+");
        refused.push(parts.join("."));
    }
    for token in refused {
        let start: String = token.chars().take(40).collect();
        assert_eq!(site.verify(token), Err(Rejected::NotJws), "{start}");
    }
    assert_eq!(site.verify([0xff; 40]), Err(Rejected::NotJws));
}

#[test]
fn a_token_is_good_until_the_second_in_which_it_expires() {
    let at = |offset: i64| {
        let payload = json!({"sub": "u", "exp": 1_800_000_000});
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000 + offset).unwrap();
        claims(serde_json::from_value(payload).unwrap(), now).map(|_| ())
    };
    assert_eq!(at(-1), Ok(()));
    assert_eq!(at(0), Err(Rejected::Expired));
    let signer = Signer::new(JwsAlgorithm::ES256);
    let site = Site::new(&[&signer]);
    for expired in [now() - 1, 0, -1] {
        let token = signer.sign(&with("exp", expired.into()));
        assert_eq!(site.verify(token), Err(Rejected::Expired));
    }
}

#[test]
fn claims_that_keystone_does_not_write_are_refused_and_further_ones_ignored() {
    let signer = Signer::new(JwsAlgorithm::ES256);
    let site = Site::new(&[&signer]);
    let verify = |claims: &Value| {
        site.verify(signer.sign(claims))
            .map(|claims| claims.project_id)
    };
    for (claim, value) in [
        ("exp", Value::Null),
        ("exp", json!("tomorrow")),
        ("exp", json!("4102444800")),
        ("exp", json!(4_102_444_800.5)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(u64::MAX)),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!(["nova"])),
        ("iat", json!(now() + 600)),
        ("iat", json!(i64::MAX)),
        ("iat", json!("yesterday")),
        ("openstack_project_id", json!("")),
        ("openstack_project_id", json!(1)),
    ] {
        let claims = with(claim, value);
        assert_eq!(verify(&claims), Err(Rejected::Claims), "{claims}");
    }
    for claims in [
        r#"{"sub": "u", "sub": "nova", "exp": 4102444800}"#,
        r#"{"sub": "u", "exp": 1, "exp": 4102444800}"#,
        r#"{"sub": "u", "exp": 4102444800} "#.trim_end_matches("} "),
        "null",
        "",
        &"[".repeat(4_000),
    ] {
        let header = r#"{"alg": "ES256"}"#;
        let refused = site.verify(signer.sign_text(header, claims));
        assert_eq!(refused, Err(Rejected::Claims), "{claims}");
    }
    let project = good()["openstack_project_id"].as_str().map(str::to_owned);
    for (claim, value) in [
        ("iat", Value::Null),
        ("iat", json!(now() + 60)),
        ("openstack_trust_id", json!("t")),
        ("openstack_app_cred_id", json!("a")),
        ("openstack_domain_id", json!("d")),
    ] {
        let claims = with(claim, value);
        assert_eq!(verify(&claims), Ok(project.clone()), "{claims}");
    }
    // Unscoped, and for the whole system.
    assert_eq!(verify(&with("openstack_project_id", Value::Null)), Ok(None));
}
