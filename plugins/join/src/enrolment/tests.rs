//! FreeIPA as a script: each test says what it answers, and sees what it was asked.

use std::collections::VecDeque;

use super::*;

/// What FreeIPA answers, call by call, and what it was asked.
struct FreeIpa {
    answers: VecDeque<(&'static str, Result<Value, i64>)>,
    asked: Vec<(&'static str, Value)>,
}

impl FreeIpa {
    fn answering<const N: usize>(answers: [(&'static str, Result<Value, i64>); N]) -> Self {
        Self {
            answers: VecDeque::from(answers),
            asked: Vec::new(),
        }
    }

    /// Every answer must have been asked for, and nothing else.
    fn enrol(&mut self) -> Result<Outcome, Error> {
        let outcome = enrol(&host(), |command, options| {
            let Some((expected, answer)) = self.answers.pop_front() else {
                panic!("one {command} too many");
            };
            assert_eq!(command, expected);
            self.asked.push((command, options));
            answer.map_err(|code| Failure::Refused {
                command,
                code,
                message: "no, because".to_owned(),
            })
        });
        assert!(self.answers.is_empty(), "not asked: {:?}", self.answers);
        outcome
    }
}

fn host() -> Host {
    Host {
        fqdn: "vm.example.test".to_owned(),
        instance_id: "2f2a0c8e-7a3b-4c57-9d3e-0d5b7f1c9a10".to_owned(),
        password: "00112233445566778899aabbccddeeff".to_owned(),
    }
}

const OURS: &str =
    r#"{"novajoin_metadata": {"nova_instance_id": "2f2a0c8e-7a3b-4c57-9d3e-0d5b7f1c9a10"}}"#;

fn done() -> Result<Value, i64> {
    Ok(json!({ "result": { "has_password": true, "has_keytab": false } }))
}

/// What host_show answers of an enrolled host.
fn enrolled_with(description: Value) -> Result<Value, i64> {
    let mut entry = json!({ "has_password": false, "has_keytab": true });
    if !description.is_null() {
        entry["description"] = json!([description]);
    }
    Ok(json!({ "result": entry }))
}

/// The answer for an enrolled host with this description.
fn outcome_for(description: Value) -> Result<Outcome, Error> {
    let shown = enrolled_with(description);
    FreeIpa::answering([("host_mod", Err(3009)), ("host_show", shown)]).enrol()
}

#[test]
fn a_new_host_is_created_with_password_and_instance() {
    let mut free_ipa = FreeIpa::answering([("host_mod", Err(4001)), ("host_add", done())]);

    assert_eq!(free_ipa.enrol(), Ok(Outcome::Waiting));
    let (_, options) = &free_ipa.asked[1];
    let expected = json!({
        "userpassword": "00112233445566778899aabbccddeeff",
        "description": OURS,
        "force": true,
    });
    assert_eq!(*options, expected);
}

#[test]
fn a_host_that_waits_gets_the_new_password_and_becomes_this_instances() {
    let mut free_ipa = FreeIpa::answering([("host_mod", done())]);

    assert_eq!(free_ipa.enrol(), Ok(Outcome::Waiting));
    let (_, options) = &free_ipa.asked[0];
    let expected = json!({
        "userpassword": "00112233445566778899aabbccddeeff",
        "description": OURS,
    });
    assert_eq!(*options, expected);
}

#[test]
fn a_host_that_this_instance_enrolled_is_left_alone() {
    assert_eq!(outcome_for(json!(OURS)), Ok(Outcome::Enrolled));
    let compact = OURS.replace(": ", ":");
    assert_eq!(outcome_for(json!(compact)), Ok(Outcome::Enrolled));
}

#[test]
fn a_host_that_another_instance_enrolled_is_refused_with_that_instances_id() {
    let theirs = r#"{"novajoin_metadata": {"nova_instance_id": "8c11"}}"#;

    assert_eq!(
        outcome_for(json!(theirs)),
        Err(Error::Forbidden(
            "vm.example.test is enrolled at FreeIPA, for instance 8c11; \
             delete the host there, or choose another name"
                .to_owned()
        ))
    );
}

#[test]
fn an_enrolled_host_described_for_people_is_refused() {
    for description in ["build server", "{", ""] {
        assert_eq!(
            outcome_for(json!(description)),
            Err(Error::Forbidden(
                "vm.example.test is enrolled at FreeIPA, for what its description does not tell; \
                 delete the host there, or choose another name"
                    .to_owned()
            )),
            "{description:?}"
        );
    }
}

#[test]
fn an_enrolled_host_without_any_record_of_an_instance_is_left_alone() {
    for description in [
        Value::Null,
        json!("{}"),
        json!("[]"),
        json!("7"),
        json!(r#"{"novajoin_metadata": null}"#),
        json!(r#"{"novajoin_metadata": {"nova_instance_id": 7}}"#),
    ] {
        let text = description.to_string();
        assert_eq!(outcome_for(description), Ok(Outcome::Enrolled), "{text}");
    }
}

#[test]
fn a_value_that_freeipa_refuses_of_a_host_that_waits_is_not_taken_for_enrolled() {
    for entry in [
        json!({ "has_password": true, "has_keytab": false }),
        json!({ "has_password": true, "has_keytab": true }),
        json!({ "has_password": false, "has_keytab": false }),
        json!({}),
    ] {
        let shown = Ok(json!({ "result": entry }));
        let outcome = FreeIpa::answering([("host_mod", Err(3009)), ("host_show", shown)]).enrol();
        let text = "FreeIPA refuses host_mod with error 3009: no, because";
        assert_eq!(outcome, Err(Error::Upstream(text.to_owned())));
    }
}

#[test]
fn whoever_comes_second_in_creating_a_host_sets_the_password_that_counts() {
    let mut free_ipa = FreeIpa::answering([
        ("host_mod", Err(4001)),
        ("host_add", Err(4002)),
        ("host_mod", done()),
    ]);

    assert_eq!(free_ipa.enrol(), Ok(Outcome::Waiting));
}

#[test]
fn a_host_that_enrolled_between_two_calls_is_compared_as_any_other() {
    let enrol = |description| {
        FreeIpa::answering([
            ("host_mod", Err(4001)),
            ("host_add", Err(4002)),
            ("host_mod", Err(3009)),
            ("host_show", enrolled_with(description)),
        ])
        .enrol()
    };

    assert_eq!(enrol(json!(OURS)), Ok(Outcome::Enrolled));
    assert!(matches!(enrol(json!("theirs")), Err(Error::Forbidden(_))));
}

#[test]
fn a_host_that_comes_and_goes_is_not_chased() {
    let vanished = Err(Error::Conflict(
        "vm.example.test was deleted at FreeIPA while it was enrolled".to_owned(),
    ));

    let mut created = FreeIpa::answering([
        ("host_mod", Err(4001)),
        ("host_add", Err(4002)),
        ("host_mod", Err(4001)),
    ]);
    assert_eq!(created.enrol(), vanished);
    let mut enrolled = FreeIpa::answering([("host_mod", Err(3009)), ("host_show", Err(4001))]);
    assert_eq!(enrolled.enrol(), vanished);
}

#[test]
fn a_password_that_freeipa_did_not_take_is_never_answered() {
    for code in [3009, 4019, 2100, 901, 903, 4203, 4204, 4001, 905] {
        let mut added = FreeIpa::answering([("host_mod", Err(4001)), ("host_add", Err(code))]);
        assert!(added.enrol().is_err(), "host_add {code}");
    }
    for code in [2100, 901, 903, 4002, 4202, 4203, 4204, 905] {
        let mut modified = FreeIpa::answering([("host_mod", Err(code))]);
        assert!(modified.enrol().is_err(), "host_mod {code}");
        let mut shown = FreeIpa::answering([("host_mod", Err(3009)), ("host_show", Err(code))]);
        assert!(shown.enrol().is_err(), "host_show {code}");
    }
}

#[test]
fn a_right_or_a_version_that_is_missing_is_the_operators_to_mend() {
    let outcome = |code| FreeIpa::answering([("host_mod", Err(code))]).enrol();
    let fault = |pointer: &str, code| {
        Err(Error::Misconfigured(vec![vendordock_plugin::FieldError {
            pointer: pointer.to_owned(),
            message: format!("FreeIPA refuses host_mod with error {code}: no, because"),
        }]))
    };

    assert_eq!(outcome(2100), fault("/user", 2100));
    assert_eq!(outcome(901), fault("/api_version", 901));
}

#[test]
fn an_instance_id_cannot_break_out_of_the_description() {
    let mut host = host();
    host.instance_id = r#"x"}, "y": {"z": ""#.to_owned();

    let description: Value = serde_json::from_str(&description(&host)).unwrap();

    let expected = json!({ "novajoin_metadata": { "nova_instance_id": host.instance_id } });
    assert_eq!(description, expected);
}
