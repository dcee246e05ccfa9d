//! The whole way, with nova's own code in front, a real keystone beside, and the stand-in FreeIPA behind.
//!
//! One keystone and one nova serve all these tests, one test at a time: each takes seconds to start. They end with
//! this process, whose end closes their stdin.

use std::sync::LazyLock;

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use vendordock_stand_ins::Ipa;

use crate::gateway::{Gateway, instance};
use crate::join;
use crate::openstack::{Account, Answer, Configuration, Instance, Keystone, NovaClient};

pub(crate) static KEYSTONE: LazyLock<Keystone> = LazyLock::new(Keystone::start);
pub(crate) static NOVA: LazyLock<Mutex<NovaClient>> =
    LazyLock::new(|| Mutex::new(NovaClient::start()));

const FQDN: &str = "web.example.test";

/// A gateway with an account of its own at keystone.
async fn gateway(ipa: &Ipa) -> Gateway {
    let own = KEYSTONE.account("vendordock", "service");
    let configuration = format!(
        r#"
        [keystone]
        auth_url = "{}"
        timeout_ms = 15000
        username = "{}"
        password = {{ file = "password" }}
        {}
        "#,
        own.auth_url,
        own.username,
        // A real keystone takes its time where everything runs on two cores.
        join::target(ipa).replace("timeout_ms = 2000", "timeout_ms = 15000")
    );
    let directory = join::directory(ipa, Ipa::PASSWORD).with("password", own.password);
    Gateway::serve(directory, &configuration).await
}

/// A cloud with one target, `join`.
struct Cloud {
    nova: MutexGuard<'static, NovaClient>,
    gateway: Gateway,
    ipa: Ipa,
}

impl Cloud {
    /// Nova has an account at keystone, and else its defaults.
    async fn start(account: Account) -> Self {
        Self::start_with(account, false).await
    }

    async fn start_with(account: Account, failure_fatal: bool) -> Self {
        let nova = NOVA.lock().await;
        let ipa = Ipa::start().await;
        let gateway = gateway(&ipa).await;
        nova.configure(Configuration {
            targets: vec![format!("join@http://{}/v1/join", gateway.address)],
            auth: Some(account.section()),
            failure_fatal,
            read_timeout: Some(20),
            ..Configuration::default()
        })
        .await;
        Self { nova, gateway, ipa }
    }

    /// What the guest should read.
    fn expected(&self) -> Value {
        let otp = self.ipa.otp(FQDN).expect("the host waits to be enrolled");
        json!({"join": {"hostname": FQDN, "krb_realm": "EXAMPLE.TEST", "ipaotp": otp}})
    }

    /// What nova warned of: its words about `join`, and the request's id, by which the gateway's log has more.
    fn warning<'a>(&self, answer: &'a Answer) -> (&'a str, &'a str) {
        let mut warnings = answer
            .log
            .iter()
            .filter(|line| line.starts_with("WARNING "));
        let warning = warnings.next().expect("nova says why there is no answer");
        assert_eq!(warnings.next(), None, "it says so once");
        let target = format!(
            "WARNING nova.api.metadata.vendordata_dynamic Error from dynamic vendordata service \
             join at http://{}/v1/join: ",
            self.gateway.address
        );
        warning
            .strip_prefix(&*target)
            .and_then(|rest| rest.split_once(" (Request-ID: "))
            .and_then(|(words, id)| Some((words, id.strip_suffix(')')?)))
            .unwrap_or_else(|| panic!("nova says: {warning}"))
    }
}

/// Nova's own account, as an operator has it.
fn nova() -> Account {
    KEYSTONE.account("nova", "service")
}

fn enrolling() -> Instance<'static> {
    Instance {
        uuid: "a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11",
        project_id: KEYSTONE.project_id("demo"),
        image_ref: "70a599e0-31e7-49b7-b260-868f441e862b",
        user_data: Some("I2Nsb3VkLWNvbmZpZwo="),
        hostname: "web",
        metadata: [("ipa_enroll", "true")].into(),
        boot_roles: Some("member,reader"),
    }
}

#[tokio::test]
async fn nova_gives_the_guest_the_password_that_ipa_holds_each_time_it_asks() {
    let cloud = Cloud::start(nova()).await;

    let first = cloud.nova.get(&enrolling()).await;
    let expected = cloud.expected();
    assert_eq!(first.result(), &expected);

    let second = cloud.nova.get(&enrolling()).await;
    assert_eq!(second.result(), &expected);
    let metadata = cloud.nova.metadata(&enrolling()).await;
    assert_eq!(metadata.result()["join"], expected["join"]);
    let otp = expected["join"]["ipaotp"].as_str().expect("a text");
    assert!(cloud.ipa.enroll(FQDN, otp), "the guest enrols with it");
    assert_eq!(cloud.ipa.count("host_add"), 1);
}

#[tokio::test]
async fn five_requests_of_nova_at_once_get_one_password_and_make_one_host() {
    let cloud = Cloud::start(nova()).await;

    let answer = cloud.nova.get_at_once(5, &enrolling()).await;

    assert_eq!(answer.results, vec![cloud.expected(); 5], "{answer:#?}");
    assert_eq!(
        (cloud.ipa.count("host_add"), cloud.ipa.count("host_mod")),
        (1, 1)
    );
}

#[tokio::test]
async fn a_config_drive_holds_the_same_answer_in_each_of_its_renderings() {
    let cloud = Cloud::start(nova()).await;

    let answer = cloud.nova.config_drive(&enrolling()).await;

    let files = answer.result().as_object().expect("files by path");
    let join: Vec<&Value> = files.values().map(|file| &file["join"]).collect();
    assert_eq!(join, [&cloud.expected()["join"]; 6]);
    assert_eq!(cloud.ipa.count("host_add"), 1);
}

#[tokio::test]
async fn an_instance_that_does_not_ask_to_be_enrolled_gets_an_empty_object() {
    let cloud = Cloud::start(nova()).await;
    let mut plain = enrolling();
    plain.metadata.clear();

    let answer = cloud.nova.get(&plain).await;

    assert_eq!(answer.result(), &json!({"join": {}}));
}

#[tokio::test]
async fn with_a_wrong_password_at_keystone_nova_asks_nobody() {
    let account = Account {
        password: "wrong".to_owned(),
        ..nova()
    };
    let cloud = Cloud::start(account).await;

    let answer = cloud.nova.get(&enrolling()).await;

    assert_eq!(answer.result(), &json!({"join": {}}));
    assert_eq!(cloud.ipa.log_ins(), 0);
    let log = cloud.gateway.written().await;
    assert!(!log.contains("request.id"), "{log}");
}

#[tokio::test]
async fn a_user_who_is_no_service_gets_nothing_and_novas_log_says_why() {
    let cloud = Cloud::start(KEYSTONE.account("plain", "service")).await;

    let answer = cloud.nova.get(&enrolling()).await;

    assert_eq!(answer.result(), &json!({"join": {}}));
    assert_eq!(cloud.ipa.log_ins(), 0);
    let (words, id) = cloud.warning(&answer);
    insta::assert_snapshot!(words, @"the token is good, but this target does not accept its user, roles and project (HTTP 403)");
    cloud
        .gateway
        .log_line(&[id, "status=403", "\"member\"", "in project service"])
        .await;
}

#[tokio::test]
async fn of_the_tokens_that_a_real_keystone_gives_only_those_of_services_are_let_in() {
    let ipa = Ipa::start().await;
    let gateway = gateway(&ipa).await;
    let mut statuses = Vec::new();

    for (user, project) in [
        ("nova", "service"),
        ("plain", "service"),
        ("plain", "demo"),
        ("adminother", "demo"),
        ("admin", "admin"),
    ] {
        let token = KEYSTONE.token(user, project);
        let answer = gateway.ask_as(&token, "join", &instance(json!({}))).await;
        statuses.push((user, project, answer.status));
    }
    let garbage = gateway
        .ask_as("gAAAAABgarbage", "join", &instance(json!({})))
        .await;
    statuses.push(("nobody", "", garbage.status));

    assert_eq!(
        statuses,
        [
            ("nova", "service", 200),
            ("plain", "service", 403),
            ("plain", "demo", 403),
            ("adminother", "demo", 403),
            ("admin", "admin", 403),
            ("nobody", "", 401),
        ]
    );
}

#[tokio::test]
async fn while_ipa_is_stopped_the_guest_gets_nothing_and_novas_log_says_why() {
    let cloud = Cloud::start(nova()).await;
    cloud.ipa.stop().await;

    let without = cloud.nova.get(&enrolling()).await;
    cloud.ipa.restart().await;
    let with = cloud.nova.get(&enrolling()).await;

    assert_eq!(without.result(), &json!({"join": {}}));
    let (words, id) = cloud.warning(&without);
    insta::assert_snapshot!(words, @"a service behind the plugin failed (HTTP 502)");
    cloud.gateway.log_line(&[id, "cannot connect to"]).await;
    assert_eq!(with.result(), &cloud.expected());
}

#[tokio::test]
async fn where_failure_is_fatal_a_stopped_ipa_fails_the_boot() {
    let cloud = Cloud::start_with(nova(), true).await;
    cloud.ipa.stop().await;

    let answer = cloud.nova.get(&enrolling()).await;

    assert_eq!(answer.results, Vec::<Value>::new());
    let [exception] = &answer.exceptions[..] else {
        panic!("{answer:#?}");
    };
    insta::assert_snapshot!(exception.class, @"keystoneauth1.exceptions.http.BadGateway");
    assert!(exception.message.contains("502"), "{}", exception.message);
}

#[tokio::test]
async fn without_a_gateway_the_guest_boots_without() {
    let cloud = Cloud::start(nova()).await;
    let Cloud { nova, gateway, .. } = cloud;
    drop(gateway);

    let answer = nova.get(&enrolling()).await;

    assert_eq!(answer.result(), &json!({"join": {}}));
}
