//! Against the strict stand-in, over TLS. The gateway's HTTP client is played by reqwest.

use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;
use vendordock_plugin::{Error, FieldError};
use vendordock_stand_ins::{Ipa, ipa};

use super::*;

/// The gateway: connections, the credential, and the cookies.
struct Gateway {
    http: reqwest::Client,
    password: &'static str,
    timeout: Duration,
    /// What of the next answer the plugin is to see instead.
    replaced: Option<Result<IncomingResponse, HttpError>>,
    sent: Vec<(OutgoingRequest, AuthScheme)>,
}

impl Gateway {
    fn new(ipa: &Ipa) -> Self {
        // Fails when another test of this process was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(ipa.ca_pem().as_bytes()).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([ca])
            .cookie_store(true)
            // A connection that the server cut meanwhile would fail otherwise than a new one.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .unwrap();
        Self {
            http,
            password: Ipa::PASSWORD,
            timeout: Duration::from_secs(10),
            replaced: None,
            sent: Vec::new(),
        }
    }

    fn send(
        &mut self,
        request: OutgoingRequest,
        scheme: AuthScheme,
    ) -> Result<IncomingResponse, HttpError> {
        self.sent.push((request.clone(), scheme.clone()));
        if let Some(replaced) = self.replaced.take() {
            return replaced;
        }
        let mut body = request.body.unwrap_or_default();
        match scheme {
            AuthScheme::Session => {}
            AuthScheme::FormField(name) => {
                let pair = [(name, self.password)];
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                body.extend(format!("&{}", form.extend_pairs(pair).finish()).into_bytes());
            }
            scheme => panic!("{scheme:?}"),
        }
        let mut sending = self.http.post(request.url).body(body);
        for (name, value) in request.headers {
            sending = sending.header(name, value);
        }
        sending = sending.timeout(self.timeout);
        tokio::task::block_in_place(|| Handle::current().block_on(answer(sending)))
    }

    fn call(&mut self, server: &str, command: &'static str) -> Result<Value, Failure> {
        let settings = settings(server);
        let mut client = Client::new(&settings, |request, scheme| self.send(request, scheme));
        let options = json!({ "userpassword": "00ff", "force": true });
        let options = if command == "host_add" {
            options
        } else {
            json!({})
        };
        client.call(command, "vm.example.test", options)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<IncomingResponse, HttpError> {
    let answer = async {
        let response = request.send().await?;
        Ok(IncomingResponse {
            status: response.status().as_u16(),
            headers: response
                .headers()
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect(),
            body: response.bytes().await?.to_vec(),
        })
    };
    answer.await.map_err(|error: reqwest::Error| {
        if error.is_timeout() {
            HttpError::Timeout
        } else if error.is_connect() {
            HttpError::Connect("refused".to_owned())
        } else {
            HttpError::Protocol("closed".to_owned())
        }
    })
}

fn settings(server: &str) -> Settings {
    serde_json::from_value(json!({
        "domain": "example.test",
        "servers": [server],
        "user": Ipa::USER,
    }))
    .unwrap()
}

fn fault(pointer: &str, message: &str) -> Failure {
    Failure::Final(Error::Misconfigured(vec![FieldError {
        pointer: pointer.to_owned(),
        message: message.to_owned(),
    }]))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_call_logs_in_and_later_ones_use_the_session() {
    let ipa = Ipa::start().await;
    let mut gateway = Gateway::new(&ipa);

    let added = gateway.call(&ipa.url(), "host_add").unwrap();
    assert_eq!(added["result"]["has_password"], true);
    assert_eq!(
        added["messages"],
        Value::Null,
        "it says which version it speaks"
    );
    assert_eq!(ipa.otp("vm.example.test").as_deref(), Some("00ff"));
    gateway.call(&ipa.url(), "host_show").unwrap();

    assert_eq!(ipa.log_ins(), 1);
    assert_eq!(gateway.sent.len(), 4);
    assert_eq!((ipa.count("host_add"), ipa.count("host_show")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_is_renewed_and_the_call_repeated_once() {
    let ipa = Ipa::start().await;
    let mut gateway = Gateway::new(&ipa);
    gateway.call(&ipa.url(), "host_add").unwrap();

    ipa.expire_sessions();
    gateway.call(&ipa.url(), "host_show").unwrap();

    assert_eq!(ipa.log_ins(), 2);
    assert_eq!(ipa.count("host_show"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_refused_although_new_is_not_renewed_for_ever() {
    let ipa = Ipa::start().await;
    let mut answers = [401, 200, 401].into_iter();
    let settings = settings(&ipa.url());
    let mut client = Client::new(&settings, |_, _| {
        Ok(IncomingResponse {
            status: answers.next().unwrap(),
            headers: Vec::new(),
            body: Vec::new(),
        })
    });

    let failure = client
        .call("host_mod", "vm.example.test", json!({}))
        .unwrap_err();

    let text = "FreeIPA does not accept the session that it has just given";
    assert_eq!(failure, Failure::upstream(text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_log_in_says_why_and_not_with_what() {
    let ipa = Ipa::start().await;
    let mut gateway = Gateway::new(&ipa);

    gateway.password = "wrong";
    let refused = "FreeIPA refuses to let this user log in: invalid-password";
    assert_eq!(
        gateway.call(&ipa.url(), "host_add"),
        Err(fault("/user", refused))
    );

    gateway.password = Ipa::PASSWORD;
    ipa.reject_log_ins(ipa::Rejection::PasswordExpired);
    let refused = "FreeIPA refuses to let this user log in: password-expired";
    assert_eq!(
        gateway.call(&ipa.url(), "host_add"),
        Err(fault("/user", refused))
    );
    assert_eq!(ipa.log_ins(), 2, "a refused log-in is not repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_freeipas_keeps_its_number() {
    let ipa = Ipa::start().await;

    let failure = Gateway::new(&ipa)
        .call(&ipa.url(), "host_show")
        .unwrap_err();

    assert_eq!(failure.code(), Some(4001));
    let text = "FreeIPA refuses host_show with error 4001: vm.example.test: host not found";
    assert_eq!(Error::from(failure), Error::Upstream(text.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_asked_by_another_name_than_its_own_is_found_out() {
    let ipa = Ipa::start().await;
    let alias = ipa.url().replace("localhost", "127.0.0.1");

    assert_eq!(
        Gateway::new(&ipa).call(&alias, "host_add"),
        Err(fault(
            "/servers/0",
            "FreeIPA answers 400: it must be asked by its own host name, not by an alias or an address"
        ))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_of_getting_no_answer_has_its_error() {
    let ipa = Ipa::start().await;
    let url = ipa.url();
    let mut gateway = Gateway::new(&ipa);
    let mut error = || Error::from(gateway.call(&url, "host_add").unwrap_err());

    ipa.faults().lose_answers(1);
    let text = format!("no usable answer from {url}: closed");
    assert_eq!(error(), Error::Upstream(text));
    ipa.faults().respond_with(503);
    assert_eq!(error(), Error::Unavailable(None));
    ipa.faults().respond_with(500);
    assert_eq!(error(), Error::Upstream("FreeIPA answers 500".to_owned()));
    ipa.faults().respond_with(200);
    let text = "FreeIPA's answer is not JSON-RPC".to_owned();
    assert_eq!(error(), Error::Upstream(text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_named() {
    let ipa = Ipa::start().await;
    ipa.stop().await;

    let failure = Gateway::new(&ipa).call(&ipa.url(), "host_add").unwrap_err();

    let text = format!("cannot connect to {}: refused", ipa.url());
    assert_eq!(Error::from(failure), Error::Upstream(text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_in_time_is_told_from_one_that_is_down() {
    let ipa = Ipa::start().await;
    let mut gateway = Gateway::new(&ipa);
    gateway.timeout = Duration::from_millis(200);
    ipa.faults().hang();

    let failure = gateway.call(&ipa.url(), "host_add").unwrap_err();

    let text = format!("no answer from {} in time", ipa.url());
    assert_eq!(Error::from(failure), Error::UpstreamTimeout(text));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_refuses_is_the_operators_to_mend() {
    let ipa = Ipa::start().await;
    let mut gateway = Gateway::new(&ipa);
    let mut error = |refusal| {
        gateway.replaced = Some(Err(refusal));
        gateway.call(&ipa.url(), "host_add").unwrap_err()
    };

    let denied = HttpError::Denied("no rule".to_owned());
    assert_eq!(error(denied), fault("/servers/0", "not granted: no rule"));
    let unusable = HttpError::Credential("no such file".to_owned());
    assert_eq!(
        error(unusable),
        fault("/credential", "not usable: no such file")
    );
}

#[test]
fn nothing_of_an_answer_that_is_no_answer_is_repeated() {
    for body in [
        "",
        "hunter2",
        "null",
        "[]",
        "{}",
        r#"{"result": null, "error": null, "id": 0}"#,
        r#"{"result": null, "error": "hunter2"}"#,
        r#"{"result": null, "error": {"code": "hunter2", "message": ""}}"#,
    ] {
        let failure = result("host_mod", body.as_bytes()).unwrap_err();
        assert_eq!(
            failure,
            Failure::upstream("FreeIPA's answer is not JSON-RPC"),
            "{body}"
        );
    }
}

#[test]
fn a_busy_server_may_say_when_to_come_back() {
    let busy = |seconds: &str| {
        unexpected(&IncomingResponse {
            status: 503,
            headers: vec![("Retry-After".to_owned(), seconds.into())],
            body: Vec::new(),
        })
    };

    assert_eq!(busy("30"), Failure::Final(Error::Unavailable(Some(30_000))));
    assert_eq!(
        busy("4294967295"),
        Failure::Final(Error::Unavailable(Some(u32::MAX)))
    );
    let date = "Fri, 20 Nov 2026 11:21:16 GMT";
    assert_eq!(busy(date), Failure::Final(Error::Unavailable(None)));
}

#[test]
fn the_referer_is_the_servers_name_alone() {
    assert_eq!(
        referer("https://ipa.example.test"),
        "https://ipa.example.test/ipa"
    );
    assert_eq!(
        referer("https://ipa.example.test:8443"),
        "https://ipa.example.test/ipa"
    );
}

#[test]
fn a_text_from_outside_is_one_line_and_not_endless() {
    assert_eq!(bounded("a\r\nb\u{1b}[0m"), "a  b [0m");
    assert_eq!(bounded(&"\u{e4}".repeat(200)), "\u{e4}".repeat(200));
    assert_eq!(
        bounded(&"x".repeat(201)),
        format!("{} ...", "x".repeat(200))
    );
}

#[test]
fn what_freeipa_says_about_its_error_is_bounded_too() {
    let failure = Failure::Refused {
        command: "host_add",
        code: 4203,
        message: "x".repeat(1000),
    };

    let text = format!(
        "FreeIPA refuses host_add with error 4203: {} ...",
        "x".repeat(200)
    );
    assert_eq!(Error::from(failure), Error::Upstream(text));
}
