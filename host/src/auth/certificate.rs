//! A caller by certificate. TLS has checked that it is good and of the operator's authority; whose it is, is checked
//! here.

use crate::config::ClientCertificate;
use crate::server::PeerCertificate;

/// Whether the certificate is one of those that are listed.
pub(super) fn accepted(certificate: &PeerCertificate, accepted: &ClientCertificate) -> bool {
    accepted.any_of_this_authority
        || accepted.subjects.contains(&certificate.subject)
        || certificate
            .names
            .iter()
            .any(|name| accepted.names.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Subject;

    #[test]
    fn a_certificate_passes_by_its_whole_subject_or_by_one_of_its_names() {
        let subject = |text: &str| Subject::try_from(text.to_owned()).expect("a subject");
        let certificate = PeerCertificate {
            subject: subject("O=Example, CN=nova"),
            names: vec!["nova.example.test".to_owned(), "10.0.0.1".to_owned()],
        };
        let passes = |subjects: &[&str], names: &[&str]| {
            let listed = ClientCertificate {
                subjects: subjects.iter().map(|text| subject(text)).collect(),
                names: names.iter().map(|&name| name.to_owned()).collect(),
                any_of_this_authority: false,
            };
            accepted(&certificate, &listed)
        };

        assert!(passes(&["O=Example, CN=nova"], &[]));
        assert!(passes(&["CN=other"], &["nova.example.test"]));
        assert!(!passes(&["CN=nova"], &["example.test", "10.0.0.2"]));
        assert!(!passes(&[], &[]));
    }
}
