//! What may be asked, how it is put to the service, and what of the answer is handed on.
//!
//! The words in a question are a plugin's, and may be a tenant's: they become one segment of a path or one value of a query,
//! percent-encoded, and what no service could have given as an id is not asked about at all.

use serde_json::Value;
use url::Url;

use crate::config::LookUp;

/// keystone's ids have up to 64 characters, and nova's and glance's are UUIDs.
const LONGEST_ID: usize = 64;

/// nova's names of key pairs, and keystone's ids of users where an old LDAP driver makes them.
const LONGEST_NAME: usize = 255;

/// nova's microversion, from 2018. Since 2.10 an admin may see another user's key pair; since 2.47 a server tells of its
/// flavour; since 2.54 a rebuild may change the key pair.
const COMPUTE_VERSION: &str = "compute 2.54";

/// One question, with words that a service could have given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question(Words);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Words {
    /// By id; of ports, that of their server.
    Id(LookUp, Box<str>),
    /// A key pair, which has no id, and a name only beside its user.
    Keypair { user_id: Box<str>, name: Box<str> },
}

impl Question {
    /// None when no service gives such an id.
    pub fn by_id(kind: LookUp, id: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let good = (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(plain);
        good.then(|| Self(Words::Id(kind, id.into())))
    }

    /// None when there can be no such user or name.
    pub fn keypair(user_id: &str, name: &str) -> Option<Self> {
        let good = |text: &str| {
            (1..=LONGEST_NAME).contains(&text.len())
                && !text.contains(char::is_control)
                // A URL has a meaning of its own for these, also when they are encoded.
                && !matches!(text, "." | "..")
                && !text.contains(['/', '\\'])
        };
        (good(user_id) && good(name)).then(|| {
            Self(Words::Keypair {
                user_id: user_id.into(),
                name: name.into(),
            })
        })
    }

    /// Of what kind.
    pub fn kind(&self) -> LookUp {
        match &self.0 {
            Words::Id(kind, _) => *kind,
            Words::Keypair { .. } => LookUp::Keypair,
        }
    }

    /// What it takes to keep it.
    pub(super) fn bytes(&self) -> usize {
        match &self.0 {
            Words::Id(_, id) => id.len(),
            Words::Keypair { user_id, name } => user_id.len() + name.len(),
        }
    }

    /// The resource, below the service's own URL, which has its version.
    pub(super) fn url(&self, service: &Url) -> Url {
        let mut url = service.clone();
        let segments: &[&str] = match &self.0 {
            Words::Id(LookUp::Project, id) => &["projects", id],
            Words::Id(LookUp::Domain, id) => &["domains", id],
            Words::Id(LookUp::Image, id) => &["images", id],
            Words::Id(LookUp::Ports, _) => &["ports"],
            Words::Id(LookUp::Server | LookUp::Keypair, id) => &["servers", id],
            Words::Keypair { name, .. } => &["os-keypairs", name],
        };
        // Fails for URLs without a host, of which there are none here.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        match &self.0 {
            Words::Id(LookUp::Ports, server_id) => {
                url.query_pairs_mut().append_pair("device_id", server_id);
            }
            Words::Keypair { user_id, .. } => {
                url.query_pairs_mut().append_pair("user_id", user_id);
            }
            Words::Id(..) => {}
        }
        url
    }

    /// The version of the service's API that it is put in; the oldest, when none.
    pub(super) fn version(&self) -> Option<&'static str> {
        matches!(self.kind(), LookUp::Server | LookUp::Keypair).then_some(COMPUTE_VERSION)
    }

    /// Takes what was asked for out of the service's answer, without what no plugin may see. None when it is not there.
    pub(super) fn answer(&self, mut body: Value) -> Option<Value> {
        let kind = self.kind();
        let mut found = match kind {
            // The one without an envelope.
            LookUp::Image => body,
            kind => body.get_mut(kind.as_str())?.take(),
        };
        if kind == LookUp::Ports {
            return found.is_array().then_some(found);
        }
        let members = found.as_object_mut()?;
        match kind {
            // To an admin nova gives it here too. Whether a plugin may see user data is for its target to say.
            LookUp::Server => {
                let user_data = members.get_mut("OS-EXT-SRV-ATTR:user_data");
                user_data.map(Value::take);
            }
            // Where it is stored; with some stores, including the password there.
            LookUp::Image => {
                members.remove("direct_url");
                members.remove("locations");
            }
            _ => {}
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn url(question: Question) -> String {
        let service = Url::parse("http://cloud.example.test/service/v9").expect("a URL");
        question.url(&service).to_string()
    }

    fn by_id(kind: LookUp) -> Question {
        Question::by_id(kind, "a-1_B").expect("a good id")
    }

    #[test]
    fn each_kind_has_its_resource() {
        let keypair = Question::keypair("u1", "my key@home?&#%2e").expect("a good name");
        let urls = LookUp::ALL[..5]
            .iter()
            .map(|kind| url(by_id(*kind)))
            .chain([url(keypair)]);

        insta::assert_snapshot!(urls.collect::<Vec<_>>().join("\n"), @r"
        http://cloud.example.test/service/v9/projects/a-1_B
        http://cloud.example.test/service/v9/domains/a-1_B
        http://cloud.example.test/service/v9/images/a-1_B
        http://cloud.example.test/service/v9/servers/a-1_B
        http://cloud.example.test/service/v9/ports?device_id=a-1_B
        http://cloud.example.test/service/v9/os-keypairs/my%20key@home%3F&%23%252e?user_id=u1
        ");
    }

    #[test]
    fn what_no_service_gives_as_an_id_is_not_asked_about() {
        let long = "a".repeat(65);
        for id in [
            "",
            ".",
            "..",
            "../../v3/users",
            "a/b",
            "a%2fb",
            "a?b",
            "a#b",
            "a b",
            "a\r\nb",
            "a\0b",
            "ä",
            &long,
        ] {
            assert_eq!(Question::by_id(LookUp::Image, id), None, "{id:?}");
        }
        let long = "a".repeat(256);
        for name in ["", ".", "..", "a/../b", "a\\b", "a\r\nb", "a\0b", &long] {
            assert_eq!(Question::keypair("u1", name), None, "{name:?}");
            assert_eq!(Question::keypair(name, "key"), None, "{name:?}");
        }
    }

    #[test]
    fn what_no_plugin_may_see_is_left_out() {
        let server = json!({"server": {"id": "a", "OS-EXT-SRV-ATTR:user_data": "c2VjcmV0"}});
        assert_eq!(
            by_id(LookUp::Server).answer(server),
            Some(json!({"id": "a", "OS-EXT-SRV-ATTR:user_data": null}))
        );

        let location = "swift+https://user:password@swift.example.test/";
        let image = json!({"id": "a", "direct_url": location, "locations": [{"url": location}]});
        assert_eq!(by_id(LookUp::Image).answer(image), Some(json!({"id": "a"})));
    }

    #[test]
    fn an_answer_without_what_was_asked_for_is_none() {
        for (kind, body) in [
            (LookUp::Project, json!({"domain": {}})),
            (LookUp::Project, json!({"project": []})),
            (LookUp::Ports, json!({"ports": {}})),
            (LookUp::Image, json!([])),
            (LookUp::Server, json!("server")),
        ] {
            assert_eq!(by_id(kind).answer(body), None);
        }
    }
}
