//! Whatever a name leads to, and whoever answers for it: a plugin gets to the addresses that a rule permits.

use serde_json::json;

use crate::egress::{fetched, with_rules};
use crate::upstream::Upstream;

#[tokio::test]
async fn a_name_that_leads_inside_is_denied_and_the_log_says_what_it_leads_to() {
    let upstream = Upstream::start().await;
    let port = upstream
        .url()
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let hosts = [
        (
            "loopback.example.test",
            "127.0.0.1",
            r#"networks = ["127.0.0.1/32"]"#,
        ),
        ("six.example.test", "::1", r#"networks = ["::1/128"]"#),
        (
            "mapped.example.test",
            "::ffff:127.0.0.1",
            r#"networks = ["127.0.0.1/32"]"#,
        ),
        (
            "metadata.example.test",
            "169.254.169.254",
            r#"networks = ["169.254.169.254/32"]"#,
        ),
        (
            "amazon.example.test",
            "fd00:ec2::254",
            r#"networks = ["fd00:ec2::254/128"]"#,
        ),
        (
            "private.example.test",
            "10.0.0.1",
            r#"networks = ["private"]"#,
        ),
        (
            "local.example.test",
            "fd12:3456::1",
            r#"networks = ["private"]"#,
        ),
        ("nobody.example.test", "0.0.0.0", "no rule can permit it"),
    ];
    let names: Vec<String> = hosts
        .iter()
        .map(|(name, address, _)| format!("\"{name}\" = [\"{address}\"]"))
        .collect();
    let more = format!("resolve = {{ {} }}", names.join(", "));
    let rules = format!(r#""http://*.example.test:{port}", "http://localhost:{port}""#);
    let gateway = with_rules(&rules, &more).await;

    for (name, address, proposed) in hosts {
        let origin = format!("http://{name}:{port}");
        let report = fetched(&gateway, json!({"url": format!("{origin}/")})).await;

        let denied = format!("{origin} leads to no address that is granted to this target");
        assert_eq!(
            report,
            json!({"error": format!("HttpError::Denied({denied:?})")})
        );
        let line = gateway
            .log_line(&[
                "refused a request",
                &format!("{origin} leads to {address} "),
            ])
            .await;
        assert!(line.contains(proposed), "{line}");
    }
    // The system's resolver knows this one.
    let origin = format!("http://localhost:{port}");
    fetched(&gateway, json!({"url": origin})).await;
    gateway
        .log_line(&[&format!("{origin} leads to "), "127.0.0.1 (loopback)"])
        .await;
}

#[tokio::test]
async fn an_address_in_place_of_a_name_is_checked_like_any_other_however_it_is_written() {
    let upstream = Upstream::start().await;
    let port = upstream
        .url()
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    // Another address of loopback is permitted, so that only the address decides.
    let rules = format!(r#"{{ to = "http://127.0.0.2:{port}", networks = ["127.0.0.2/32"] }}"#);
    let gateway = with_rules(&rules, "").await;

    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0",
    ] {
        let url = format!("http://{host}:{port}/");
        let report = fetched(&gateway, json!({"url": url})).await;
        let error = report["error"].as_str().expect("an error");
        assert!(error.starts_with("HttpError::Denied"), "{host}: {error}");
    }
}

#[tokio::test]
async fn of_a_names_addresses_the_permitted_one_is_used_with_the_name_in_the_host_header() {
    let upstream = Upstream::start().await;
    let port = upstream
        .url()
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let url = format!("http://two.example.test:{port}");
    let rules = format!(r#"{{ to = "{url}", networks = ["127.0.0.1/32"] }}"#);
    let names = r#"resolve = { "two.example.test" = ["127.0.0.2", "10.255.255.1", "127.0.0.1"] }"#;
    let gateway = with_rules(&rules, names).await;

    let (report, host) = tokio::join!(fetched(&gateway, json!({"url": url})), async {
        let first = upstream.next().await;
        let host = first.header("host").to_owned();
        first.answer("200 OK", &[], "").await;
        host
    });

    assert_eq!(report["status"], 200);
    assert_eq!(format!("http://{host}"), url);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_told_from_one_that_is_forbidden() {
    let gateway = with_rules(r#""https://nowhere.invalid""#, "").await;

    let report = fetched(&gateway, json!({"url": "https://nowhere.invalid/"})).await;

    let text = "the name of https://nowhere.invalid does not resolve";
    assert_eq!(
        report,
        json!({"error": format!("HttpError::Dns({text:?})")})
    );
}
