//! What the commands answer.

use serde_json::{Value, json};

use super::{Client, HOST};
use crate::Ipa;
use crate::ipa::Host;

#[tokio::test]
async fn a_new_host_keeps_its_password_until_it_enrols() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;

    let options = json!({ "userpassword": "otp-1", "description": "mine", "force": true });
    let answer = client
        .call("host_add", json!(["VM.example.test"]), options)
        .await;

    assert_eq!(
        answer,
        json!({
            "result": {
                "result": {
                    "dn": "fqdn=vm.example.test,cn=computers,cn=accounts,dc=example,dc=test",
                    "fqdn": ["vm.example.test"],
                    "description": ["mine"],
                    "managedby_host": ["vm.example.test"],
                    "has_password": true,
                    "has_keytab": false,
                },
                "value": "vm.example.test",
                "summary": "Added host \"vm.example.test\"",
            },
            "error": null,
            "id": 0,
            "principal": "vendordock@EXAMPLE.TEST",
            "version": "4.12.2",
        })
    );
    assert_eq!(ipa.otp(HOST).as_deref(), Some("otp-1"));

    assert!(!ipa.enroll(HOST, "guessed"));
    assert!(ipa.enroll(HOST, "otp-1"));
    assert!(!ipa.enroll(HOST, "otp-1"), "it is good for once");
    let shown = client.call("host_show", json!([HOST]), json!({})).await;
    let shown = &shown["result"]["result"];
    assert_eq!(shown["has_password"], false);
    assert_eq!(shown["has_keytab"], true);
    assert_eq!(
        shown["krbprincipalname"],
        json!(["host/vm.example.test@EXAMPLE.TEST"])
    );
}

#[tokio::test]
async fn a_password_can_be_set_anew_until_the_host_is_enrolled() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;
    ipa.put_host(HOST, Host::waiting("old", Some("first")));

    let options = json!({ "userpassword": "new", "description": "second" });
    let answer = client.call("host_mod", json!([HOST]), options).await;
    assert_eq!(
        answer["result"]["summary"],
        "Modified host \"vm.example.test\""
    );
    assert_eq!(ipa.host(HOST), Some(Host::waiting("new", Some("second"))));

    assert!(ipa.enroll(HOST, "new"));
    let error = client
        .error("host_mod", json!([HOST]), json!({ "userpassword": "x" }))
        .await;
    let text = "invalid 'password': Password cannot be set on enrolled host.";
    assert_eq!(error, (3009, text.to_owned()));

    let answer = client.call("host_disable", json!([HOST]), json!({})).await;
    assert_eq!(answer["result"]["result"], true);
    let answer = client
        .call("host_mod", json!([HOST]), json!({ "random": true }))
        .await;
    let random = answer["result"]["result"]["randompassword"].as_str();
    assert_eq!(random, ipa.otp(HOST).as_deref());
    let error = client.error("host_disable", json!([HOST]), json!({})).await;
    assert_eq!(error.0, 4010);
}

#[tokio::test]
async fn each_way_to_be_wrong_about_a_host_has_its_error() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;
    ipa.put_host(HOST, Host::enrolled(Some("mine")));
    let name = |length: usize| format!("{}.example.test", "a".repeat(length - 13));
    let force = json!({ "force": true });

    for (method, args, options, code) in [
        (
            "host_mod",
            json!(["none.example.test"]),
            json!({ "description": "x" }),
            4001,
        ),
        (
            "host_mod",
            json!(["a b!.example.test"]),
            json!({ "description": "x" }),
            4001,
        ),
        ("host_show", json!(["none.example.test"]), json!({}), 4001),
        ("host_add", json!([HOST]), force.clone(), 4002),
        (
            "host_add",
            json!(["a b!.example.test"]),
            force.clone(),
            3009,
        ),
        ("host_add", json!(["short"]), force.clone(), 3009),
        ("host_add", json!([name(65)]), force.clone(), 3009),
        ("host_add", json!(["new.example.test"]), json!({}), 4019),
        (
            "host_mod",
            json!([HOST]),
            json!({ "description": "mine" }),
            4202,
        ),
        ("host_mod", json!([HOST]), json!({}), 4202),
        ("host_mod", json!([HOST]), json!({ "force": true }), 3005),
        (
            "host_mod",
            json!([HOST]),
            json!({ "description": ["a", "b"] }),
            3008,
        ),
        ("host_mod", json!([]), json!({ "description": "x" }), 3007),
        (
            "host_mod",
            json!([HOST, HOST]),
            json!({ "description": "x" }),
            3004,
        ),
        ("no_such_command", json!([]), json!({}), 905),
    ] {
        let error = client.error(method, args.clone(), options.clone()).await;
        assert_eq!(error.0, code, "{method} {args} {options}: {}", error.1);
    }
    let answer = client.call("host_add", json!([name(64)]), force).await;
    assert_eq!(answer["error"], Value::Null);
}

#[tokio::test]
async fn a_service_needs_its_host_and_may_have_others_to_manage_it() {
    let ipa = Ipa::start().await;
    let client = Client::logged_in(&ipa).await;
    let sub_host = "vm.ctlplane.example.test";
    let principal = format!("HTTP/{sub_host}");
    ipa.put_host(HOST, Host::enrolled(None));

    let force = json!({ "force": true });
    let error = client
        .error("service_add", json!([principal]), force.clone())
        .await;
    assert_eq!(error.0, 4001);

    let calls = json!([
        { "method": "host_add", "params": [[sub_host], force] },
        { "method": "service_add", "params": [[principal], force] },
        { "method": "service_add", "params": [[principal], force] },
        { "method": "service_add_host", "params": [[principal], { "host": [HOST] }] },
        { "method": "service_add_host", "params": [[principal], { "host": [HOST, "none.example.test"] }] },
        { "method": "teleport", "params": [[], {}] },
        { "params": [[], {}] },
    ]);
    let answer = client.call("batch", json!([calls]), json!({})).await;
    let batch = &answer["result"];
    assert_eq!(batch["count"], 7);
    let codes: Vec<&Value> = (0..7)
        .map(|index| &batch["results"][index]["error_code"])
        .collect();
    let (null, duplicate) = (Value::Null, json!(4002));
    let (unknown, required) = (json!(905), json!(3007));
    assert_eq!(
        codes,
        [&null, &null, &duplicate, &null, &null, &unknown, &required]
    );
    assert_eq!(batch["results"][3]["completed"], 1);
    assert_eq!(
        batch["results"][4]["failed"]["managedby"]["host"],
        json!([
            [HOST, "This entry is already a member"],
            ["none.example.test", "no such entry"],
        ])
    );
    let managers = [sub_host.to_owned(), HOST.to_owned()];
    assert_eq!(ipa.service(&principal).as_deref(), Some(&managers[..]));

    let answer = client
        .call(
            "host_del",
            json!([[sub_host]]),
            json!({ "updatedns": false }),
        )
        .await;
    assert_eq!(answer["result"]["result"], json!({ "failed": [] }));
    assert_eq!(ipa.service(&principal), None, "services go with their host");
}
