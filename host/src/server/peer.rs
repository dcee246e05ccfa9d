//! Who is at the other end, by the certificate that TLS has checked.

use std::net::IpAddr;

use x509_parser::error::X509Error;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName};

use crate::config::Subject;

/// A client's certificate, read once for each connection. Requests have it among their extensions when one was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject, as `openssl x509 -noout -subject` has it.
    pub subject: Subject,
    /// Subject alternative names: DNS names, addresses and URIs.
    pub names: Vec<String>,
}

/// Why a certificate cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no X.509.
    #[error("is damaged")]
    Damaged(#[from] x509_parser::nom::Err<X509Error>),
    /// Its subject alternative names cannot be read, or are there twice.
    #[error("has damaged names")]
    Names(#[from] X509Error),
}

impl PeerCertificate {
    /// Reads a certificate, in DER.
    ///
    /// # Errors
    ///
    /// When it is damaged.
    pub fn read(der: &[u8]) -> Result<Self, Error> {
        let (_, certificate) = X509Certificate::from_der(der)?;
        let names = certificate.subject_alternative_name()?;
        let names = names.map_or(&[][..], |extension| &extension.value.general_names);
        Ok(Self {
            subject: Subject::new(certificate.subject().iter().filter_map(part).collect()),
            names: names.iter().filter_map(name).collect(),
        })
    }
}

/// One part of a subject. Several attributes in one part, which is rare, are `OU=a + CN=b` to openssl, and so to us: they
/// are not the two parts `OU=a, CN=b`.
fn part(part: &RelativeDistinguishedName<'_>) -> Option<(String, String)> {
    let mut attributes = part.iter();
    let first = attributes.next()?;
    let mut text = value(first);
    for next in attributes {
        text += &format!(" + {}={}", attribute(next), value(next));
    }
    Some((attribute(first), text))
}

/// openssl's short name, for what occurs in subjects.
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let short = match oid.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.42" => "GN",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return oid,
    };
    short.to_owned()
}

fn value(attribute: &AttributeTypeAndValue<'_>) -> String {
    match attribute.as_str() {
        Ok(text) => text.to_owned(),
        // A string type from before UTF-8. No subject in the configuration is equal to this.
        Err(_) => {
            let digits = attribute
                .as_slice()
                .iter()
                .map(|byte| format!("{byte:02X}"));
            format!("#{}", digits.collect::<String>())
        }
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use vendordock_stand_ins::Authority;

    use super::*;

    #[test]
    fn a_certificate_reads_as_openssl_prints_it_and_as_it_is_configured() {
        let subject: [(&[u64], &str); 6] = [
            (&[2, 5, 4, 6], "DE"),
            (&[0, 9, 2342, 19_200_300, 100, 1, 25], "example"),
            (&[2, 5, 4, 10], "Example AG"),
            (&[2, 5, 4, 3], "nova"),
            (&[1, 2, 840, 113_549, 1, 9, 1], "nova@example.test"),
            (&[1, 3, 6, 1, 4, 1, 55_555], "own"),
        ];
        let names = [
            "nova.example.test",
            "10.0.0.1",
            "fd00::1",
            "spiffe://example.test/nova",
        ];
        let issued = Authority::new().issue_to(&subject, &names);
        let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).expect("PEM");

        let read = PeerCertificate::read(&der).expect("a certificate");

        let text = "C=DE, DC=example, O=Example AG, CN=nova, emailAddress=nova@example.test, \
                    1.3.6.1.4.1.55555=own";
        assert_eq!(read.subject.to_string(), text);
        assert_eq!(
            read.subject,
            Subject::try_from(text.to_owned()).expect("a subject")
        );
        assert_eq!(read.names, names);
        assert!(matches!(
            PeerCertificate::read(b"no"),
            Err(Error::Damaged(_))
        ));
    }
}
