//! `targets.NAME.egress`: the rules that let a plugin send requests, and what one call may send in all.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Destination, Networks, Origin};

/// The methods that plugins have. CONNECT and TRACE, which `wasi:http` has too, are not among them.
pub const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// A body goes through the plugin's memory whole, and one host call copies 8 MiB at most.
const LONGEST_BODY_BYTES: usize = 4 << 20;

/// One rule: a text alone, `"https://host/path"`, or a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Where to.
    pub to: Destination,
    /// With which methods; any that plugins have when absent.
    pub methods: Option<Vec<Method>>,
    /// How the connection is made.
    pub connection: Connection,
    /// The longest body of a request.
    pub request_bytes: usize,
    /// The longest body of an answer.
    pub response_bytes: usize,
    /// How long one request may take in all; never beyond the call's own deadline.
    pub timeout_ms: Option<NonZeroU32>,
    /// How long the beginning of the answer may take.
    pub first_byte_timeout_ms: Option<NonZeroU32>,
}

/// How connections are made. Rules that agree here share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The addresses that the name may lead to.
    pub networks: Networks,
    /// How long a connection may take, from the name to the end of the TLS handshake.
    pub connect_timeout_ms: NonZeroU32,
    /// Certificates of the authority that signed the upstream's; the target's `ca_file` when absent.
    pub ca_file: Option<PathBuf>,
    /// What the gateway shows of itself.
    pub client_certificate: Option<ClientIdentity>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientIdentity {
    /// The certificate, and those between it and its authority.
    pub certificate_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
}

/// `[targets.NAME.egress_limits]`: what one call may send and receive in all.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressLimits {
    /// Requests, each hop of a redirect counted.
    pub requests: u32,
    /// Of those, at the same time. Further ones wait.
    pub concurrent_requests: NonZeroU32,
    /// Bytes of all bodies that are sent.
    pub request_bytes: usize,
    /// Bytes of all bodies that are received.
    pub response_bytes: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    to: Text,
    methods: Option<Vec<MethodName>>,
    #[serde(default)]
    networks: Networks,
    #[serde(default = "one_mebibyte")]
    request_bytes: BodyBytes,
    #[serde(default = "one_mebibyte")]
    response_bytes: BodyBytes,
    timeout_ms: Option<NonZeroU32>,
    first_byte_timeout_ms: Option<NonZeroU32>,
    #[serde(default = "two_seconds")]
    connect_timeout_ms: NonZeroU32,
    ca_file: Option<PathBuf>,
    client_certificate: Option<ClientIdentity>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Text(Destination);

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct MethodName(Method);

#[derive(Deserialize)]
#[serde(try_from = "usize")]
struct BodyBytes(usize);

impl Rule {
    /// Whether the rule lets requests of this method through.
    pub fn has_method(&self, method: &Method) -> bool {
        self.methods
            .as_ref()
            .is_none_or(|methods| methods.contains(method))
    }

    /// The rest of it, for `vendordock check`.
    pub fn limits(&self) -> String {
        let mut text = format!(
            ", sending {} bytes, receiving {}, connecting within {} ms",
            self.request_bytes, self.response_bytes, self.connection.connect_timeout_ms
        );
        if let Some(time) = self.first_byte_timeout_ms {
            text += &format!(", first byte within {time} ms");
        }
        if let Some(time) = self.timeout_ms {
            text += &format!(", all within {time} ms");
        }
        if let Some(identity) = &self.connection.client_certificate {
            text += &format!(", as {}", identity.certificate_file.display());
        }
        text
    }

    /// Whether some URL of this origin lies where the rule leads.
    pub fn covers_origin(&self, origin: &Origin) -> bool {
        self.to.covers_origin(origin)
    }

    /// The address that the rule names and does not permit: it could never be used.
    pub fn forbidden_address(&self) -> Option<IpAddr> {
        let address = self.to.address()?;
        (!self.connection.networks.permit(address)).then_some(address)
    }

    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        let connection = &mut self.connection;
        if let Some(ca_file) = &mut connection.ca_file {
            *ca_file = directory.join(&*ca_file);
        }
        if let Some(identity) = &mut connection.client_certificate {
            for path in [&mut identity.certificate_file, &mut identity.key_file] {
                *path = directory.join(&*path);
            }
        }
    }
}

impl From<Destination> for Rule {
    fn from(to: Destination) -> Self {
        Self {
            to,
            methods: None,
            connection: Connection {
                networks: Networks::default(),
                connect_timeout_ms: two_seconds(),
                ca_file: None,
                client_certificate: None,
            },
            request_bytes: one_mebibyte().0,
            response_bytes: one_mebibyte().0,
            timeout_ms: None,
            first_byte_timeout_ms: None,
        }
    }
}

impl From<Table> for Rule {
    fn from(table: Table) -> Self {
        Self {
            to: table.to.0,
            methods: table
                .methods
                .map(|methods| methods.into_iter().map(|method| method.0).collect()),
            connection: Connection {
                networks: table.networks,
                connect_timeout_ms: table.connect_timeout_ms,
                ca_file: table.ca_file,
                client_certificate: table.client_certificate,
            },
            request_bytes: table.request_bytes.0,
            response_bytes: table.response_bytes.0,
            timeout_ms: table.timeout_ms,
            first_byte_timeout_ms: table.first_byte_timeout_ms,
        }
    }
}

/// An untagged enum would do, but for its errors, which do not say what is wrong.
impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        impl<'de> Visitor<'de> for TextOrTable {
            type Value = Rule;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text such as \"https://host.example.test\", or a table")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Rule, E> {
                Destination::parse(text).map(Rule::from).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Rule, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(table))?;
                if table.methods.as_ref().is_some_and(Vec::is_empty) {
                    return Err(A::Error::custom("an empty list of methods permits nothing"));
                }
                Ok(table.into())
            }
        }

        deserializer.deserialize_any(TextOrTable)
    }
}

/// As the configuration has it, as far as it decides what is let through.
impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = &self.connection.networks;
        if self.methods.is_none() && *networks == Networks::default() {
            return write!(formatter, "\"{}\"", self.to);
        }
        write!(formatter, "{{ to = \"{}\"", self.to)?;
        if let Some(methods) = &self.methods {
            let quoted: Vec<String> = methods
                .iter()
                .map(|method| format!("\"{method}\""))
                .collect();
            write!(formatter, ", methods = [{}]", quoted.join(", "))?;
        }
        if *networks != Networks::default() {
            write!(formatter, ", networks = {networks}")?;
        }
        formatter.write_str(" }")
    }
}

impl TryFrom<String> for Text {
    type Error = super::destination::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Destination::parse(&text).map(Self)
    }
}

impl TryFrom<String> for MethodName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut known = METHODS.iter();
        if let Some(method) = known.find(|method| method.as_str() == text) {
            return Ok(Self(method.clone()));
        }
        let upper = text.to_uppercase();
        let known = || METHODS.iter().map(Method::as_str);
        Err(match known().any(|method| method == upper) {
            true => format!("`{text}` is not how a method is written; write \"{upper}\""),
            false => {
                let known = known().collect::<Vec<_>>().join(", ");
                format!("`{text}` is no method of plugins; they have {known}")
            }
        })
    }
}

impl TryFrom<usize> for BodyBytes {
    type Error = String;

    fn try_from(bytes: usize) -> Result<Self, String> {
        if bytes > LONGEST_BODY_BYTES {
            return Err(format!(
                "a body goes through the plugin's memory whole; at most {LONGEST_BODY_BYTES}"
            ));
        }
        Ok(Self(bytes))
    }
}

impl Default for EgressLimits {
    fn default() -> Self {
        Self {
            requests: 32,
            concurrent_requests: const { NonZeroU32::new(8).expect("not zero") },
            request_bytes: 8 << 20,
            response_bytes: 8 << 20,
        }
    }
}

fn one_mebibyte() -> BodyBytes {
    BodyBytes(1 << 20)
}

fn two_seconds() -> NonZeroU32 {
    const { NonZeroU32::new(2_000).expect("not zero") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        egress: Vec<Rule>,
    }

    fn rules(text: &str) -> Result<Vec<Rule>, String> {
        let file: Result<File, _> = toml::from_str(text);
        file.map(|file| file.egress)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_text_alone_is_everything_under_it_at_public_addresses() {
        let read = rules(r#"egress = ["https://ipa.example.test"]"#).expect("a rule");
        let [rule] = &read[..] else {
            panic!("{read:?}")
        };
        assert!(rule.has_method(&Method::DELETE));
        assert_eq!(rule.connection.networks, Networks::default());
    }

    #[test]
    fn a_rule_is_shown_as_it_would_be_written() {
        let text = r#"egress = [
            "https://a.example.test/x/",
            { to = "https://*.example.test:8443", methods = ["GET", "POST"], networks = ["private", "127.0.0.0/8"] },
        ]"#;
        let shown: Vec<String> = rules(text)
            .expect("rules")
            .iter()
            .map(Rule::to_string)
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        "https://a.example.test/x"
        { to = "https://*.example.test:8443", methods = ["GET", "POST"], networks = ["private", "127.0.0.0/8"] }
        "#);
        let again = rules(&format!("egress = [{}]", shown.join(", ")));
        assert_eq!(again, rules(text));
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_said_of_its_part() {
        let refused = |rule: &str| match rules(&format!("egress = [{rule}]")) {
            Ok(rules) => panic!("{rules:?}"),
            Err(message) => message,
        };
        let texts = [
            "7",
            "{}",
            r#"{ to = "https://a.test/*" }"#,
            r#"{ to = "https://a.test", methods = [] }"#,
            r#"{ to = "https://a.test", methods = ["get"] }"#,
            r#"{ to = "https://a.test", methods = ["CONNECT"] }"#,
            r#"{ to = "https://a.test", networks = [] }"#,
            r#"{ to = "https://a.test", networks = ["10.0.0.1"] }"#,
            r#"{ to = "https://a.test", response_bytes = 4194305 }"#,
            r#"{ to = "https://a.test", timeout_ms = 0 }"#,
            r#"{ to = "https://a.test", method = "GET" }"#,
        ];
        insta::assert_snapshot!(texts.map(refused).join("\n"), @r#"
        invalid type: integer `7`, expected a text such as "https://host.example.test", or a table
        missing field `to`
        `https://a.test/*` has a star where none can be; it stands for one whole label at the beginning, over two labels or more: `https://*.example.test`
        an empty list of methods permits nothing
        `get` is not how a method is written; write "GET"
        `CONNECT` is no method of plugins; they have GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS
        an empty list leads nowhere
        `10.0.0.1` is not how a network is written; write "10.0.0.1/32"
        a body goes through the plugin's memory whole; at most 4194304
        invalid value: integer `0`, expected a nonzero u32
        unknown field `method`, expected one of `to`, `methods`, `networks`, `request_bytes`, `response_bytes`, `timeout_ms`, `first_byte_timeout_ms`, `connect_timeout_ms`, `ca_file`, `client_certificate`
        "#);
    }
}
