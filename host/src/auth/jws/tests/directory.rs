//! Which files are keys, and what happens when they change.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::prelude::BASE64_STANDARD;
use rcgen::PublicKeyData as _;

use super::*;

const P521: &str = "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBySTr5a6UmWhs9FPC+FMyJ1YPc+203lA0Jw9VWX6q0pZ8JgYRnuiej/UlEnV+PUIj\
    6zGGdyjxCT3KnK6QaMsjdtkB24nNTwtPjQ0sWK4M8SAdc5pOI4uQ+7pazFk2m6X6VuRAA0UeToWupRy6+aQAPMU4AMDWCbFkt1mbzEHOMc7tZ6M=";

const RSA: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0LQE1zCZNjSA9d26EvbGdYhv5nAeS3DCIOYTGGLEjzOEDTyTY2NW\
    NoTWq4wM7l3W1mR1r7RDOQMHhf2edoJcOBvhY5RLgolWKaQTu6EajgKSWT3oah+tECWWsyeGc1JFZLccfheXnfKk5R5BzHQ8\
    Ug/wqT1Fc9B5w/ub5nYWINMBa6opjI6nsmBITnJd8MBp/vz8jibO+5uDKxiKuXO0xHda3VQF0L6Z4MrWQiajFIiJkSUw0xgk\
    Dmx0o/4ydwLa+s44mGltEykaih7/gdkGbBV+U9W1KHZIYI9vg9YYEqs58TGzpxaNLTvSYWBUj79tsbvq2VofifA+0JeoXmOi\
    JQIDAQAB";

/// Only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

fn es256() -> Signer {
    Signer::new(JwsAlgorithm::ES256)
}

impl Site {
    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// What is wrong with the directory now, without its own path.
    fn faults(&self) -> Vec<String> {
        let faults = Verifier::faults(&self.verifier.config);
        let directory = format!("{}/", self.directory.path().display());
        let text = |fault: &Error| chain(fault).replace(&directory, "");
        faults.iter().map(text).collect()
    }
}

/// Asks without presenting a bad token, until it is so.
async fn until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "it never happens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_file_that_is_no_public_key_of_ours_is_an_error_that_names_it() {
    let (signer, another) = (es256(), es256());
    let pem = signer.pair.public_key_pem();
    let private = signer.pair.serialize_pem();
    let body: String = pem.lines().filter(|line| !line.contains("-----")).collect();
    let der = BASE64_STANDARD.decode(&body).unwrap();
    let mut off_curve = der.clone();
    *off_curve.last_mut().unwrap() ^= 1;
    let mut longer = der.clone();
    longer.push(0);
    let ed25519 = Signer::new(JwsAlgorithm::EdDSA)
        .pair
        .subject_public_key_info();
    // One byte less, in both lengths.
    let mut short = ed25519[..ed25519.len() - 1].to_vec();
    (short[1], short[10]) = (short[1] - 1, short[10] - 1);
    let mut written = Vec::new();

    for (what, text) in [
        ("nothing", String::new()),
        ("text", "public key".to_owned()),
        ("half a key", pem[..100].to_owned()),
        ("a key without its end", pem.replace("-----END", "")),
        ("not base64", pem.replacen('M', "*", 1)),
        ("two keys", pem.clone() + &another.pair.public_key_pem()),
        ("a certificate", pem.replace("PUBLIC KEY", "CERTIFICATE")),
        ("no DER", public_pem("AAAA")),
        (
            "more than a key",
            public_pem(&BASE64_STANDARD.encode(longer)),
        ),
        (
            "no point of the curve",
            public_pem(&BASE64_STANDARD.encode(off_curve)),
        ),
        (
            "too short a key",
            public_pem(&BASE64_STANDARD.encode(short)),
        ),
        ("endless", pem.clone() + &"\n".repeat(100_000) + &pem),
        ("P-521", public_pem(P521)),
        ("RSA", public_pem(RSA)),
        ("private", private.clone()),
        ("private, and public", pem.clone() + &private),
        ("half private", private[..40].to_owned()),
        (
            "private of old",
            "-----BEGIN EC PRIVATE KEY-----\n".to_owned(),
        ),
    ] {
        let site = Site::new(&[&signer]);
        fs::write(site.path("k.pem"), text).unwrap();
        let refused = Verifier::new(&site.verifier.config)
            .map(|_| ())
            .unwrap_err();
        assert!(refused.to_string().contains("k.pem"), "{refused}");
        written.push(format!("{what}: {}", site.faults().join(" / ")));
    }

    insta::assert_snapshot!(written.join("\n"), @r"
    nothing: k.pem is not one public key in PEM
    text: k.pem is not one public key in PEM
    half a key: k.pem is not one public key in PEM
    a key without its end: k.pem is not one public key in PEM
    not base64: k.pem is not one public key in PEM
    two keys: k.pem is not one public key in PEM
    a certificate: k.pem is not one public key in PEM
    no DER: k.pem is not one public key in PEM
    more than a key: k.pem is not one public key in PEM
    no point of the curve: k.pem is not one public key in PEM
    too short a key: k.pem is not one public key in PEM
    endless: k.pem is not one public key in PEM
    P-521: k.pem holds a public key that is not for ES256, ES384 or EdDSA
    RSA: k.pem holds a public key that is not for ES256, ES384 or EdDSA
    private: k.pem holds a private key: only keystone's public keys belong here
    private, and public: k.pem holds a private key: only keystone's public keys belong here
    half private: k.pem holds a private key: only keystone's public keys belong here
    private of old: k.pem holds a private key: only keystone's public keys belong here
    ");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let site = Site::new(&[&es256()]);
    fs::write(site.path("a.pem"), "").unwrap();
    fs::write(site.path("b.pem"), public_pem(P521)).unwrap();
    symlink("nowhere", site.path("c.pem")).unwrap();

    insta::assert_snapshot!(site.faults().join("\n"), @r"
    a.pem is not one public key in PEM
    b.pem holds a public key that is not for ES256, ES384 or EdDSA
    c.pem cannot be read: No such file or directory (os error 2)
    ");
}

#[test]
fn a_directory_without_a_key_that_is_accepted_is_an_error() {
    let site = Site::new(&[&Signer::new(JwsAlgorithm::ES384)]);
    for config in [
        config(&site.path("nowhere"), &ALL),
        config(tempfile::tempdir().unwrap().path(), &ALL),
        config(site.directory.path(), &[JwsAlgorithm::ES256]),
    ] {
        assert!(Verifier::new(&config).is_err());
        assert_eq!(Verifier::faults(&config).len(), 1);
    }
    let config = config(site.directory.path(), &[JwsAlgorithm::ES256]);
    let fault = Verifier::faults(&config).remove(0);
    assert!(matches!(fault, Error::NoKey { .. }), "{fault}");
}

#[test]
fn other_files_are_left_alone_and_links_are_followed() {
    let (signer, hidden, linked) = (es256(), es256(), es256());
    let site = Site::new(&[&signer]);
    fs::write(site.path("README"), "").unwrap();
    fs::write(site.path("public.pem.bak"), "").unwrap();
    fs::write(site.path(".pem"), "").unwrap();
    hidden.publish(site.directory.path(), ".hidden.pem");
    fs::create_dir(site.path("directory.pem")).unwrap();
    fs::create_dir(site.path("..data")).unwrap();
    linked.publish(&site.path("..data"), "linked.pem");
    symlink("..data/linked.pem", site.path("linked.pem")).unwrap();

    let verifier = Verifier::new(&site.verifier.config).unwrap();

    let verify = |signer: &Signer| verifier.verify(signer.token().as_bytes()).map(|_| ());
    assert_eq!(verify(&signer), Ok(()));
    assert_eq!(verify(&linked), Ok(()));
    assert_eq!(verify(&hidden), Err(Rejected::Signature));
}

#[test]
fn a_new_keys_first_token_is_good_and_so_are_the_old_ones() {
    let (old, new) = (es256(), es256());
    let site = Site::new(&[&old]);
    let token = new.token();
    assert_eq!(site.verify(&token), Err(Rejected::Signature));

    new.publish(site.directory.path(), "new.pem");

    assert!(site.verify(&token).is_ok());
    assert!(site.verify(old.token()).is_ok());
}

#[test]
fn tokens_of_a_new_key_that_come_at_once_are_all_good() {
    let (old, new) = (es256(), es256());
    let tokens = [old.token(), new.token()];
    for _ in 0..20 {
        let site = Site::new(&[&old]);
        new.publish(site.directory.path(), "new.pem");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (site, token) = (&site, &tokens[number % 2]);
                scope.spawn(move || assert!(site.verify(token).is_ok()));
            }
        });
    }
}

#[test]
fn bad_tokens_do_not_make_unchanged_keys_be_read_again() {
    let site = Site::new(&[&es256()]);
    let before = site.verifier.keys.load_full();
    for _ in 0..10 {
        assert_eq!(site.verify(es256().token()), Err(Rejected::Signature));
    }
    assert!(Arc::ptr_eq(&before, &site.verifier.keys.load_full()));

    fs::write(site.path("README"), "").unwrap();
    assert_eq!(site.verify(es256().token()), Err(Rejected::Signature));
    assert!(!Arc::ptr_eq(&before, &site.verifier.keys.load_full()));
}

#[test]
fn a_removed_key_is_worth_nothing_once_the_directory_was_looked_at() {
    let (kept, removed) = (es256(), es256());
    let site = Site::new(&[&kept, &removed]);
    fs::remove_file(site.path("public-1.pem")).unwrap();

    assert_eq!(site.verify("gAAAAABgarbage"), Err(Rejected::NotJws));
    assert!(site.verify(removed.token()).is_ok(), "nobody looked");
    assert_eq!(site.verify(es256().token()), Err(Rejected::Signature));
    assert_eq!(site.verify(removed.token()), Err(Rejected::Signature));
    assert!(site.verify(kept.token()).is_ok());
}

#[tokio::test]
async fn a_removed_key_is_soon_worth_nothing_without_any_bad_token() {
    let (kept, removed) = (es256(), es256());
    let site = Site::new(&[&kept, &removed]);
    let token = removed.token();
    let watching = tokio::spawn(Arc::clone(&site.verifier).watch());
    assert!(site.verify(&token).is_ok());

    fs::remove_file(site.path("public-1.pem")).unwrap();

    let before = site.verifier.keys.load_full();
    until(|| !Arc::ptr_eq(&before, &site.verifier.keys.load_full())).await;
    assert_eq!(site.verify(&token), Err(Rejected::Signature));
    assert!(site.verify(kept.token()).is_ok());
    watching.abort();
}

#[tokio::test]
async fn what_could_not_be_read_is_tried_again_though_nothing_changes() {
    let signer = es256();
    let site = Site::new(&[&signer]);
    // As after too many open files.
    site.verifier.keys.store(Arc::default());
    site.verifier.directory().unread = true;
    assert_eq!(site.verify(signer.token()), Err(Rejected::Signature));

    let watching = tokio::spawn(Arc::clone(&site.verifier).watch());

    until(|| !site.verifier.keys.load().is_empty()).await;
    assert!(site.verify(signer.token()).is_ok());
    watching.abort();
}

#[test]
fn a_key_that_is_half_written_is_good_when_it_is_whole() {
    let (old, new) = (es256(), es256());
    let site = Site::new(&[&old]);
    let token = new.token();
    let pem = new.pair.public_key_pem();

    for bytes in [0, 1, 60, pem.len() - 30] {
        fs::write(site.path("new.pem"), &pem[..bytes]).unwrap();
        assert_eq!(site.verify(&token), Err(Rejected::Signature), "{bytes}");
        assert!(site.verify(old.token()).is_ok(), "{bytes}");
    }

    fs::write(site.path("new.pem"), pem).unwrap();
    assert!(site.verify(&token).is_ok());
}

#[test]
fn a_file_that_turns_bad_leaves_the_other_keys_in_use() {
    let (kept, replaced) = (es256(), es256());
    let site = Site::new(&[&kept, &replaced]);
    for text in [
        String::new(),
        public_pem(RSA),
        replaced.pair.serialize_pem(),
    ] {
        fs::write(site.path("public-1.pem"), text).unwrap();
        assert_eq!(site.verify(es256().token()), Err(Rejected::Signature));
        assert_eq!(site.verify(replaced.token()), Err(Rejected::Signature));
        assert!(site.verify(kept.token()).is_ok());
    }
}

#[test]
fn without_any_key_everyone_is_refused_until_there_is_one_again() {
    let signer = es256();
    let site = Site::new(&[&signer]);
    let token = signer.token();

    fs::remove_file(site.path("public-0.pem")).unwrap();
    assert_eq!(site.verify(es256().token()), Err(Rejected::Signature));
    assert_eq!(site.verify(&token), Err(Rejected::Signature));
    fs::remove_dir(site.directory.path()).unwrap();
    assert_eq!(site.verify(&token), Err(Rejected::Signature));

    fs::create_dir(site.directory.path()).unwrap();
    signer.publish(site.directory.path(), "public.pem");
    assert!(site.verify(&token).is_ok());
}

#[test]
fn a_directory_behind_a_link_may_be_swapped_whole() {
    let (old, new) = (es256(), es256());
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    for (signer, name) in [(&old, "one"), (&new, "two")] {
        fs::create_dir(at(name)).unwrap();
        signer.publish(&at(name), "public.pem");
    }
    symlink("one", at("current")).unwrap();
    let verifier = Verifier::new(&config(&at("current"), &ALL)).unwrap();

    symlink("two", at("next")).unwrap();
    fs::rename(at("next"), at("current")).unwrap();

    assert!(verifier.verify(new.token().as_bytes()).is_ok());
    assert!(verifier.verify(old.token().as_bytes()).is_err());
}
