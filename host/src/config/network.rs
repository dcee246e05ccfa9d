//! Which addresses a rule's name may lead to.
//!
//! Whoever answers for a name in DNS chooses its addresses, and a gateway reaches more of them than the outside does: its
//! own loopback, the cloud's metadata service, the control plane. So a rule leads to public addresses, and to
//! others where it says so.
//!
//! An IPv6 address that carries an IPv4 address is judged by that: as mapped, as compatible, through NAT64, through 6to4.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

/// `"public"`, `"private"`, or a network such as `"10.1.0.0/16"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Network {
    /// What the Internet routes.
    Public,
    /// What RFC 1918 and RFC 4193 set aside for a site's own use.
    Private,
    /// The addresses with this prefix, of whatever kind.
    Prefix(IpNet),
}

/// The networks of one rule: public addresses, unless the rule says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// Why a text is no network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a word nor a network.
    #[error(
        "`{0}` is no network; write \"public\", \"private\", or addresses such as \"10.1.0.0/16\""
    )]
    Unknown(String),
    /// It is spelt in another way than the one that this is compared with.
    #[error("`{text}` is not how a network is written; write \"{write}\"")]
    Spelling {
        /// What stands there.
        text: String,
        /// What to write.
        write: String,
    },
    /// It would open loopback, the metadata service and all else, whatever the rest of the list says.
    #[error("`{0}` is every address there is; name the networks that are meant")]
    Everything(String),
    /// Nothing there takes a connection.
    #[error("`{network}` is {kind}: nothing can be connected to there")]
    Never {
        /// What stands there.
        network: String,
        /// What it is.
        kind: &'static str,
    },
}

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Public,
    Private,
    /// A service that hands out the credentials of the machine that asks.
    Metadata,
    /// Whatever else has a use of its own.
    Special(&'static str),
    /// No connection is ever made there.
    Never(&'static str),
}

impl Networks {
    /// Whether a connection may be made to this address.
    pub fn permit(&self, address: IpAddr) -> bool {
        let address = carried(address);
        let by_prefix = |least_bits: u8| {
            self.0.iter().any(|network| {
                matches!(network, Network::Prefix(prefix)
                    if prefix.prefix_len() >= least_bits && prefix.contains(&address))
            })
        };
        match kind(address) {
            Kind::Never(_) => false,
            Kind::Public => self.0.contains(&Network::Public) || by_prefix(0),
            Kind::Private => self.0.contains(&Network::Private) || by_prefix(0),
            Kind::Special(_) => by_prefix(0),
            // Nobody means this one by a network that it happens to lie in.
            Kind::Metadata => by_prefix(whole(address)),
        }
    }

    /// The list that would permit this address as well, as the configuration has it; none where no list can.
    pub fn with(&self, address: IpAddr) -> Option<Self> {
        let address = carried(address);
        let more = match kind(address) {
            Kind::Never(_) => return None,
            Kind::Public => Network::Public,
            Kind::Private => Network::Private,
            Kind::Special(_) | Kind::Metadata => {
                Network::Prefix(IpNet::new_assert(address, whole(address)))
            }
        };
        // What is public by default need not stay so: the name is known to lead elsewhere.
        let mut networks = self.clone();
        if networks == Self::default() {
            networks.0.clear();
        }
        networks.0.push(more);
        Some(networks)
    }
}

/// An address and what it is, for a log.
pub fn described(address: IpAddr) -> String {
    let kind = match kind(carried(address)) {
        Kind::Public => "public",
        Kind::Private => "private",
        Kind::Metadata => "a metadata service",
        Kind::Special(kind) | Kind::Never(kind) => kind,
    };
    format!("{address} ({kind})")
}

fn whole(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The IPv4 address in an IPv6 address, if that is what it is for.
fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let low = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        // Unspecified and loopback have the same prefix as what is compatible.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0, high, end]
        | [0, 0, 0, 0, 0, 0xffff, high, end]
        | [0, 0, 0, 0, 0xffff, 0, high, end]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, end]
        | [0x2002, high, end, ..] => low(high, end),
        _ => address,
    }
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(v4) => kind_of_v4(v4),
        IpAddr::V6(v6) => kind_of_v6(v6),
    }
}

/// By IANA's registry of special-purpose addresses.
fn kind_of_v4(address: Ipv4Addr) -> Kind {
    match address.octets() {
        // The usual one, Amazon's for containers, Alibaba's, Azure's.
        [169, 254, 169, 254] | [169, 254, 170, 2] | [100, 100, 100, 200] | [168, 63, 129, 16] => {
            Kind::Metadata
        }
        // Linux takes it for itself.
        [0, ..] => Kind::Never("unspecified"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Kind::Private,
        [100, 64..=127, ..] => Kind::Special("shared by carriers"),
        [127, ..] => Kind::Special("loopback"),
        [169, 254, ..] => Kind::Special("link-local"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Kind::Special("for documentation"),
        [192, 0, 0, _] | [192, 88, 99, _] => Kind::Special("for protocols"),
        [198, 18..=19, ..] => Kind::Special("for benchmarks"),
        [224..=239, ..] => Kind::Never("multicast"),
        [255, 255, 255, 255] => Kind::Never("broadcast"),
        [240..=255, ..] => Kind::Special("reserved"),
        _ => Kind::Public,
    }
}

fn kind_of_v6(address: Ipv6Addr) -> Kind {
    match address.segments() {
        // Amazon's, Google's, OpenStack's.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
        | [0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe] => Kind::Metadata,
        [0, 0, 0, 0, 0, 0, 0, 0] => Kind::Never("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Special("loopback"),
        [0xfc00..=0xfdff, ..] => Kind::Private,
        [0xfe80..=0xfebf, ..] => Kind::Special("link-local"),
        [0xff00..=0xffff, ..] => Kind::Never("multicast"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Kind::Special("for documentation"),
        // Teredo among them, which carries an IPv4 address and a way round a firewall.
        [0x2001, 0..=0x1ff, ..] => Kind::Special("for protocols"),
        [0x2000..=0x3fff, ..] => Kind::Public,
        _ => Kind::Special("reserved"),
    }
}

impl Default for Networks {
    fn default() -> Self {
        Self(vec![Network::Public])
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let networks: Vec<Network> = super::one_or_many::read(deserializer)?;
        if networks.is_empty() {
            return Err(serde::de::Error::custom("an empty list leads nowhere"));
        }
        Ok(Self(networks))
    }
}

impl TryFrom<String> for Network {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        match text.as_str() {
            "public" => return Ok(Self::Public),
            "private" => return Ok(Self::Private),
            _ => {}
        }
        let spelling = |write: String| Error::Spelling {
            text: text.clone(),
            write,
        };
        if let Ok(address) = text.parse::<IpAddr>() {
            return Err(spelling(IpNet::from(address).to_string()));
        }
        let Ok(prefix) = text.parse::<IpNet>() else {
            let word = text.to_lowercase();
            return Err(match word.as_str() {
                "public" | "private" => spelling(word),
                "loopback" | "localhost" => spelling("127.0.0.0/8".to_owned()),
                _ => Error::Unknown(text),
            });
        };
        if prefix.prefix_len() == 0 {
            return Err(Error::Everything(text));
        }
        let canonical = prefix.trunc();
        let carried = carried(canonical.addr());
        if canonical.addr().is_ipv6() && carried.is_ipv4() && canonical.prefix_len() >= 96 {
            let v4 = IpNet::new_assert(carried, canonical.prefix_len() - 96);
            return Err(spelling(v4.to_string()));
        }
        if canonical.to_string() != text {
            return Err(spelling(canonical.to_string()));
        }
        match kind(canonical.addr()) {
            Kind::Never(kind) => Err(Error::Never {
                network: text,
                kind,
            }),
            _ => Ok(Self::Prefix(canonical)),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => formatter.write_str("public"),
            Self::Private => formatter.write_str("private"),
            Self::Prefix(prefix) => prefix.fmt(formatter),
        }
    }
}

/// As the configuration has it.
impl fmt::Display for Networks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted: Vec<String> = self
            .0
            .iter()
            .map(|network| format!("\"{network}\""))
            .collect();
        write!(formatter, "[{}]", quoted.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks<const N: usize>(texts: [&str; N]) -> Networks {
        let network = |text: &str| Network::try_from(text.to_owned()).expect("a network");
        Networks(texts.map(network).to_vec())
    }

    fn permitted<'a>(networks: &Networks, addresses: &[&'a str]) -> Vec<&'a str> {
        let permit = |address: &&&str| networks.permit(address.parse().expect("an address"));
        addresses.iter().filter(permit).copied().collect()
    }

    const PUBLIC: [&str; 6] = [
        "1.1.1.1",
        "172.32.0.1",
        "192.0.1.1",
        "2606:4700::1111",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
    ];
    const PRIVATE: [&str; 8] = [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "fd12:3456::1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:a00:1::1",
    ];
    const METADATA: [&str; 9] = [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::a9fe:a9fe",
        "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::",
    ];
    const SPECIAL: [&str; 20] = [
        "127.0.0.1",
        "127.255.255.254",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "169.254.1.1",
        "fe80::1",
        "fec0::1",
        "100.64.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "203.0.113.1",
        "240.0.0.1",
        "2001:db8::1",
        "2001:0:53aa:64c:0:fbfe:80ff:fefe",
    ];
    const NEVER: [&str; 7] = [
        "0.0.0.0",
        "0.1.2.3",
        "255.255.255.255",
        "224.0.0.1",
        "::",
        "ff02::1",
        "::ffff:224.0.0.1",
    ];
    const ALL: [&[&str]; 5] = [&PUBLIC, &PRIVATE, &METADATA, &SPECIAL, &NEVER];

    #[test]
    fn a_word_opens_its_own_kind_of_address_in_every_form_and_no_other() {
        assert_eq!(permitted(&Networks::default(), &ALL.concat()), PUBLIC);
        assert_eq!(permitted(&networks(["private"]), &ALL.concat()), PRIVATE);
    }

    #[test]
    fn a_prefix_opens_what_lies_in_it_but_for_what_must_be_named_or_is_never_reached() {
        let loopback = networks(["127.0.0.0/8"]);
        let open = [
            "127.0.0.1",
            "127.255.255.254",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::",
        ];
        assert_eq!(permitted(&loopback, &ALL.concat()), open);

        let wide = networks(["128.0.0.0/1", "f000::/4"]);
        assert_eq!(permitted(&wide, &METADATA), [""; 0]);
        assert_eq!(permitted(&wide, &NEVER), [""; 0]);
        let named = networks(["169.254.169.254/32", "fd00:ec2::254/128"]);
        assert_eq!(
            permitted(&named, &METADATA),
            [
                "169.254.169.254",
                "fd00:ec2::254",
                "::ffff:169.254.169.254",
                "2002:a9fe:a9fe::"
            ]
        );
    }

    #[test]
    fn the_list_that_is_proposed_permits_the_address() {
        let rule = networks(["private", "192.0.2.0/24"]);
        for address in ALL.concat() {
            let address = address.parse().expect("an address");
            if let Some(proposed) = rule.with(address) {
                assert!(proposed.permit(address), "{address}");
            } else {
                assert!(NEVER.contains(&address.to_string().as_str()), "{address}");
            }
        }
        let proposed = Networks::default().with([10, 0, 0, 1].into());
        assert_eq!(proposed.expect("possible").to_string(), r#"["private"]"#);
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_to_write() {
        let refused = |text: &str| match Network::try_from(text.to_owned()) {
            Ok(network) => panic!("{network} is taken"),
            Err(error) => error.to_string(),
        };
        let texts = [
            "10.1.2.3",
            "10.1.2.3/16",
            "fd00::1/8",
            "::ffff:10.0.0.0/104",
            "loopback",
            "Private",
            "lan",
            "0.0.0.0/0",
            "224.0.0.0/4",
        ];
        insta::assert_snapshot!(texts.map(refused).join("\n"), @r#"
        `10.1.2.3` is not how a network is written; write "10.1.2.3/32"
        `10.1.2.3/16` is not how a network is written; write "10.1.0.0/16"
        `fd00::1/8` is not how a network is written; write "fd00::/8"
        `::ffff:10.0.0.0/104` is not how a network is written; write "10.0.0.0/8"
        `loopback` is not how a network is written; write "127.0.0.0/8"
        `Private` is not how a network is written; write "private"
        `lan` is no network; write "public", "private", or addresses such as "10.1.0.0/16"
        `0.0.0.0/0` is every address there is; name the networks that are meant
        `224.0.0.0/4` is multicast: nothing can be connected to there
        "#);
    }
}
