//! The rule that would have let a refused request through, for whoever reads the log at night.
//!
//! It opens no more than it must: of a path, which may hold what a plugin made of a tenant's data, it has one segment more
//! than the rules have already.

use std::net::IpAddr;

use reqwest::Method;
use url::{Host, Url};

use crate::config::{Destination, Rule};

/// A rule to add; none where no rule can cover the URL.
pub(super) fn to_add(rules: &[Rule], url: &Url, method: &Method) -> Option<Rule> {
    let of_origin = || rules.iter().filter(|rule| rule.to.covers_origin_of(url));
    if let Some(rule) = of_origin().find(|rule| rule.to.covers(url)) {
        // It lacks the method, or it would have been taken.
        let mut rule = rule.clone();
        rule.to = Destination::at(url, rule.to.path())?;
        rule.methods = Some(vec![method.clone()]);
        return Some(rule);
    }
    let closest = of_origin().max_by_key(|rule| shared_segments(rule.to.path(), url.path()));
    let mut rule = match closest {
        Some(rule) => {
            let segments = shared_segments(rule.to.path(), url.path()) + 1;
            let path = url.path().split('/').skip(1).take(segments);
            let path: String = path.flat_map(|segment| ["/", segment]).collect();
            let mut rule = rule.clone();
            rule.to = Destination::at(url, &path)
                .filter(|to| to.covers(url))
                .or_else(|| Destination::at(url, ""))?;
            rule
        }
        None => Rule::from(Destination::at(url, "")?),
    };
    if !rule.has_method(method) {
        rule.methods = Some(vec![method.clone()]);
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::from(address)),
        _ => None,
    };
    match address {
        Some(address) if !rule.connection.networks.permit(address) => {
            rule.connection.networks = rule.connection.networks.with(address)?;
            Some(rule)
        }
        _ => Some(rule),
    }
}

/// What to put in place of a rule whose networks permit none of these addresses.
pub(super) fn in_place_of(rule: &Rule, url: &Url, addresses: &[IpAddr]) -> Option<Rule> {
    let networks = addresses
        .iter()
        .find_map(|address| rule.connection.networks.with(*address))?;
    let mut rule = rule.clone();
    rule.to = Destination::at(url, rule.to.path())?;
    rule.connection.networks = networks;
    Some(rule)
}

fn shared_segments(rule: &str, path: &str) -> usize {
    let pairs = rule.split('/').zip(path.split('/')).skip(1);
    pairs.take_while(|(own, other)| own == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        let rule = |text: &&str| {
            let file: toml::Table = format!("rule = {text}").parse().expect("TOML");
            file["rule"].clone().try_into().expect("a rule")
        };
        texts.iter().map(rule).collect()
    }

    #[test]
    fn what_is_proposed_lets_the_request_through_and_little_else() {
        let rules = rules(&[
            r#""https://a.test/api/v1""#,
            r#"{ to = "https://a.test/read", methods = ["GET"], networks = ["private"] }"#,
            r#""https://*.b.test/x""#,
        ]);
        let requests = [
            ("GET", "https://other.test/x/y?secret=1"),
            ("GET", "http://a.test/api/v1"),
            ("GET", "https://a.test:8443/"),
            ("POST", "https://a.test/api/v2/tenant/7?secret=1"),
            ("POST", "https://a.test/read/x"),
            ("POST", "https://a.test/"),
            ("GET", "https://a.test/api/v1/..%2f../x"),
            ("GET", "https://a.test/tenant*7/x"),
            ("GET", "https://c.b.test/y"),
            ("GET", "http://127.0.0.1:8080/x"),
            ("GET", "http://[fd00::1]/x"),
            ("GET", "http://0.0.0.0/x"),
        ];
        let proposed = requests.map(|(method, url)| {
            let url = Url::parse(url).expect("a URL");
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let rule = to_add(&rules, &url, &method);
            if let Some(rule) = &rule {
                assert!(rule.to.covers(&url) && rule.has_method(&method), "{url}");
            }
            let rule = rule.map(|rule| rule.to_string()).unwrap_or_default();
            format!("{method} {url}: {rule}")
        });
        insta::assert_snapshot!(proposed.join("\n"), @r#"
        GET https://other.test/x/y?secret=1: "https://other.test"
        GET http://a.test/api/v1: "http://a.test"
        GET https://a.test:8443/: "https://a.test:8443"
        POST https://a.test/api/v2/tenant/7?secret=1: "https://a.test/api/v2"
        POST https://a.test/read/x: { to = "https://a.test/read", methods = ["POST"], networks = ["private"] }
        POST https://a.test/: { to = "https://a.test", methods = ["POST"], networks = ["private"] }
        GET https://a.test/api/v1/..%2f../x: "https://a.test"
        GET https://a.test/tenant*7/x: { to = "https://a.test", methods = ["GET"], networks = ["private"] }
        GET https://c.b.test/y: "https://c.b.test/y"
        GET http://127.0.0.1:8080/x: { to = "http://127.0.0.1:8080", networks = ["127.0.0.1/32"] }
        GET http://[fd00::1]/x: { to = "http://[fd00::1]", networks = ["private"] }
        GET http://0.0.0.0/x:
        "#);
    }

    #[test]
    fn a_rule_that_leads_nowhere_is_replaced_by_one_for_that_host_alone() {
        let rules = rules(&[r#""https://*.b.test/x""#]);
        let url = Url::parse("https://c.b.test/x/y").expect("a URL");
        let proposed = |addresses: &[&str]| {
            let addresses: Vec<IpAddr> = addresses
                .iter()
                .map(|address| address.parse().expect("an address"))
                .collect();
            in_place_of(&rules[0], &url, &addresses).map(|rule| rule.to_string())
        };
        insta::assert_debug_snapshot!(
            [
                proposed(&["10.0.0.1"]),
                proposed(&["0.0.0.0", "169.254.169.254"]),
                proposed(&["224.0.0.1"]),
            ],
            @r#"
            [
                Some(
                    "{ to = \"https://c.b.test/x\", networks = [\"private\"] }",
                ),
                Some(
                    "{ to = \"https://c.b.test/x\", networks = [\"169.254.169.254/32\"] }",
                ),
                None,
            ]
            "#
        );
    }
}
