//! HTTPS: whose certificate is shown, and what becomes of open connections when it is replaced.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use reqwest::{Certificate, Client, Identity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vendordock_stand_ins::{Authority, Issued};

use crate::gateway::Gateway;
use crate::program::{Directory, PATIENCE};

const ECHO: &str = r#"
    auth.require = "none"
    targets.echo = { component = "echo.wasm" }
    [server.tls]
    certificate_file = "now/certificate.pem"
    key_file = "now/key.pem"
"#;

/// A directory with a certificate, reached by a link as the tools that renew certificates leave it.
fn directory(issued: &Issued) -> Directory {
    let directory = Directory::new();
    fs::create_dir(directory.path("1")).expect("the directory is ours");
    let directory = directory
        .with("1/certificate.pem", &issued.certificate_pem)
        .with("1/key.pem", &issued.key_pem);
    symlink("1", directory.path("now")).expect("the directory is ours");
    directory
}

/// Puts another certificate in place of the first, by its link.
fn replace(gateway: &Gateway, name: &str, certificate_pem: &str, key_pem: &str) {
    let path = gateway.path(name);
    fs::create_dir(&path).expect("the directory is ours");
    fs::write(path.join("certificate.pem"), certificate_pem).expect("the directory is ours");
    fs::write(path.join("key.pem"), key_pem).expect("the directory is ours");
    let next = gateway.path("next");
    symlink(name, &next).expect("the directory is ours");
    fs::rename(next, gateway.path("now")).expect("both are links");
}

/// A connection, and the certificate that the gateway showed.
async fn connect(gateway: &Gateway, authority: &Authority) -> (TlsStream<TcpStream>, Vec<u8>) {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).expect("PEM");
    roots.add(ca).expect("an authority");
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
    let stream = TcpStream::connect(gateway.address)
        .await
        .expect("it listens");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let stream = connector.connect(name, stream).await.expect("TLS");
    let shown = stream
        .get_ref()
        .1
        .peer_certificates()
        .expect("it shows one");
    let shown = shown[0].to_vec();
    (stream, shown)
}

fn der(issued: &Issued) -> Vec<u8> {
    let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes());
    der.expect("PEM").to_vec()
}

/// Asks on this connection, which stays open.
async fn answers(stream: &mut TlsStream<TcpStream>) -> bool {
    let asking = async {
        let request = b"GET /healthz HTTP/1.1\r\nHost: vendordock\r\n\r\n";
        stream.write_all(request).await?;
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\nok\n") {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(false);
            }
        }
        std::io::Result::Ok(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"))
    };
    let answered = tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("in time");
    answered.expect("the connection holds")
}

fn client(authority: &Authority, identity: Option<&Issued>) -> Client {
    let ca = Certificate::from_pem(authority.ca_pem().as_bytes()).expect("PEM");
    let mut client = Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .tls_certs_only([ca]);
    if let Some(issued) = identity {
        let pem = format!("{}{}", issued.key_pem, issued.certificate_pem);
        client = client.identity(Identity::from_pem(pem.as_bytes()).expect("PEM"));
    }
    client.build().expect("a client")
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_answered_and_plain_http_is_not() {
    let authority = Authority::new();
    let gateway = Gateway::serve(directory(&authority.issue(&["127.0.0.1"])), ECHO).await;
    let address = gateway.address;
    assert_eq!(
        gateway.told("listening on ").await,
        format!("https://{address}")
    );
    let url = format!("https://{address}/healthz");

    let answer = client(&authority, None).get(&url).send().await;
    assert_eq!(answer.expect("it answers").status(), 200);

    let other = client(&Authority::new(), None).get(&url).send().await;
    assert!(other.is_err(), "its authority is another");
    let plain = Client::new().get(format!("http://{address}/healthz"));
    assert!(plain.send().await.is_err(), "the port speaks TLS");
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_used_at_once_and_open_connections_stay() {
    let authority = Authority::new();
    let (first, second) = (
        authority.issue(&["127.0.0.1"]),
        authority.issue(&["127.0.0.1"]),
    );
    let gateway = Gateway::serve(directory(&first), ECHO).await;
    let (mut open, shown) = connect(&gateway, &authority).await;
    assert_eq!(shown, der(&first));
    assert!(answers(&mut open).await);

    replace(&gateway, "2", &second.certificate_pem, &second.key_pem);
    gateway.log_line(&["the certificate was replaced"]).await;

    let (mut new, shown) = connect(&gateway, &authority).await;
    assert_eq!(shown, der(&second));
    assert!(answers(&mut new).await);
    assert!(answers(&mut open).await);
}

#[tokio::test]
async fn a_new_certificate_that_cannot_be_used_is_reported_once_and_the_old_one_stays() {
    let authority = Authority::new();
    let (first, second) = (
        authority.issue(&["127.0.0.1"]),
        authority.issue(&["127.0.0.1"]),
    );
    let gateway = Gateway::serve(directory(&first), ECHO).await;

    replace(&gateway, "2", &second.certificate_pem, &first.key_pem);
    gateway
        .log_line(&[
            "ERROR",
            "the new certificate is not used",
            "does not belong",
        ])
        .await;
    let (mut stream, shown) = connect(&gateway, &authority).await;
    assert_eq!(shown, der(&first));
    assert!(answers(&mut stream).await);

    // What comes after it is used again.
    replace(&gateway, "3", &second.certificate_pem, &second.key_pem);
    gateway.log_line(&["the certificate was replaced"]).await;
    let (_, shown) = connect(&gateway, &authority).await;
    assert_eq!(shown, der(&second));
    let log = gateway.written().await;
    assert_eq!(log.matches("is not used").count(), 1, "{log}");
}

#[tokio::test]
async fn a_client_certificate_may_be_missing_and_must_not_be_another_authoritys() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let directory =
        directory(&authority.issue(&["127.0.0.1"])).with("clients.pem", clients.ca_pem());
    let gateway = Gateway::serve(
        directory,
        &format!("{ECHO}client_ca_file = \"clients.pem\""),
    )
    .await;
    let ask = async |identity: Option<&Issued>| {
        let url = format!("https://{}/healthz", gateway.address);
        let answer = client(&authority, identity).get(url).send().await;
        answer.map(|answer| answer.status().as_u16())
    };

    assert_eq!(ask(None).await.expect("it answers"), 200);
    assert_eq!(
        ask(Some(&clients.issue(&["nova"])))
            .await
            .expect("it answers"),
        200
    );
    assert!(ask(Some(&authority.issue(&["nova"]))).await.is_err());
    gateway
        .log_line(&["no TLS", "invalid peer certificate"])
        .await;
}

#[test]
fn every_file_of_a_certificate_that_cannot_be_used_is_told_with_its_key() {
    let authority = Authority::new();
    let (one, other) = (
        authority.issue(&["127.0.0.1"]),
        authority.issue(&["127.0.0.1"]),
    );
    let configuration = r#"
        auth.require = "none"
        targets.echo = { component = "echo.wasm" }
        [server.tls]
        certificate_file = "certificate.pem"
        key_file = "key.pem"
        client_ca_file = "clients.pem"
    "#;
    let damaged = one.certificate_pem.replace("MII", "AAA");
    let mut told = Vec::new();
    for (certificate, key, clients) in [
        (&*one.certificate_pem, &*other.key_pem, authority.ca_pem()),
        ("", &*one.certificate_pem, ""),
        (&*damaged, &*one.key_pem, authority.ca_pem()),
        (&*one.certificate_pem, &*one.key_pem, &*damaged),
    ] {
        let directory = Directory::new()
            .with("vendordock.toml", configuration)
            .with("certificate.pem", certificate)
            .with("key.pem", key)
            .with("clients.pem", clients);
        let checked = directory.run(&["check", "--config", "vendordock.toml"]);
        let served = directory.run(&["serve", "--config", "vendordock.toml"]);
        assert_eq!((checked.code, served.code), (Some(2), Some(2)));
        assert_eq!(checked.stderr, served.stderr);
        told.push(checked.stderr);
    }

    insta::assert_snapshot!(told.join("\n"), @r"
    vendordock.toml:6: server.tls.key_file: key_file key.pem does not belong to the certificate in certificate.pem

    vendordock.toml:5: server.tls.certificate_file: certificate_file certificate.pem holds no certificate in PEM
    vendordock.toml:6: server.tls.key_file: key_file key.pem holds no key in PEM
    vendordock.toml:7: server.tls.client_ca_file: client_ca_file clients.pem holds no certificate in PEM

    vendordock.toml:5: server.tls.certificate_file: certificate_file certificate.pem is damaged: Parsing Error: Der(UnexpectedTag { expected: Some(Tag(16)), actual: Tag(0) })

    vendordock.toml:7: server.tls.client_ca_file: client_ca_file clients.pem is damaged: invalid peer certificate: BadEncoding
    ");
}
