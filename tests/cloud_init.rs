//! Composed answers in a guest: Debian's cloud-init reads what the real program answers.

use serde_json::json;

use crate::gateway::{Answer, Gateway, instance};
use crate::guest::{Drive, Guest};
use crate::upstream::Upstream;

/// Two members with parts of every kind, names and keys in common.
const SITE: &str = r##"
    auth.require = "none"
    [targets.site]
    component = "parts.wasm"
    config.parts = [
        { name = "setup.sh", kind = "script", content = "#!/bin/sh\necho é site\n" },
        { name = "base", kind = "cloud-config", content = "runcmd: [site]\nfqdn: first\nwrite_files:\n- {path: /a, content: a}\n" },
        { name = "jinja", kind = "cloud-config-jinja", content = "bootcmd: ['{{ v1.local_hostname }}']\n" },
        { name = "hook", kind = "boothook", content = "#!/bin/sh\ntouch /tmp/vendordock-must-not-be\n" },
    ]
    [targets.backup]
    component = "parts.wasm"
    config.parts = [
        { name = "setup.sh", kind = "script", content = "#!/bin/sh\r\necho backup\r\n" },
        { name = "setup.sh", kind = "script", content = "#!/bin/sh\necho third" },
        { name = "base", kind = "cloud-config", content = "runcmd: [backup]\nfqdn: second\nwrite_files:\n- {path: /b, content: b}\n" },
    ]
    [targets.legacy]
    component = "parts.wasm"
    config.body = '{"cloud-init": "#cloud-config-archive\n- |\n  #!/bin/sh\n  echo archive\n- \"runcmd: [archive]\"\n"}'
    [targets.cloud-init]
    kind = "cloud-init"
    compose = ["site", "backup", "legacy"]
"##;

async fn answer(configuration: &str) -> Answer {
    let gateway = Gateway::start(configuration).await;
    let answer = gateway.ask("cloud-init", &instance(json!({}))).await;
    assert_eq!(answer.status, 200, "{answer}");
    answer
}

async fn boot(configuration: &str) -> Guest {
    let answer = answer(configuration).await;
    tokio::task::spawn_blocking(move || Guest::boot(&answer.body))
        .await
        .expect("it boots")
}

#[tokio::test]
async fn every_part_arrives_and_none_collides() {
    let guest = boot(SITE).await;

    assert_eq!(guest.log, Vec::<String>::new());
    assert_eq!(
        guest
            .scripts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect::<Vec<_>>(),
        [
            ("vendordock-0101-site-setup.sh", "#!/bin/sh\necho é site\n"),
            // cloud-init itself makes line ends good.
            (
                "vendordock-0201-backup-setup.sh",
                "#!/bin/sh\necho backup\n"
            ),
            ("vendordock-0202-backup-setup.sh", "#!/bin/sh\necho third"),
            ("vendordock-0301-legacy-part", "#!/bin/sh\necho archive\n"),
        ]
    );
    assert_eq!(
        guest.boothooks.into_iter().collect::<Vec<_>>(),
        [(
            "vendordock-0104-site-hook".to_owned(),
            "#!/bin/sh\ntouch /tmp/vendordock-must-not-be\n".to_owned()
        )]
    );
    assert_eq!(
        guest.cloud_config,
        json!({
            "runcmd": ["site", "backup", "archive"],
            "bootcmd": ["web"],
            "fqdn": "first",
            "write_files": [{"path": "/a", "content": "a"}, {"path": "/b", "content": "b"}],
        })
    );
}

#[tokio::test]
async fn static_vendor_data_and_the_tenants_user_data_are_beside_it() {
    let answer = answer(SITE).await;
    let drive = Drive {
        vendor_data: Some(json!({ "cloud-init": "#!/bin/sh\necho static\n" })),
        user_data: "#cloud-config\nruncmd: [tenant]\n",
    };

    let guest = tokio::task::spawn_blocking(move || Guest::boot_with(&answer.body, &drive));
    let guest = guest.await.expect("it boots");

    assert_eq!(guest.scripts.len(), 5, "{:?}", guest.scripts.keys());
    assert_eq!(guest.scripts["part-001"], "#!/bin/sh\necho static\n");
    // As `--explain` says: a tenant's list replaces ours, and what the tenant leaves alone stays.
    assert_eq!(guest.with_user_data["runcmd"], json!(["tenant"]));
    assert_eq!(guest.with_user_data["fqdn"], "first");
}

#[tokio::test]
async fn a_part_that_would_be_another_stays_what_it_is() {
    let hostile = "#!/bin/sh\n\
        --=vendordock-00000000000000000000000000000000=--\n\
        --=vendordock-00000000000000000000000000000000=\n\
        Content-Type: text/part-handler\n\
        MIME-Version: 1.0\n\n\
        raise SystemExit\n\
        From nobody\n.\n";
    let name = "a\"\r\nContent-Type: text/part-handler\r\n\r\n../../../etc/cron.d/x";
    let part = |name: &str, kind: &str, content: &str| {
        format!(
            "{{ name = {}, kind = \"{kind}\", content = {} }}",
            json!(name),
            json!(content)
        )
    };
    let parts = [
        part(name, "script", hostile),
        part("", "script", &format!("#!/bin/sh\n{}\n", "x".repeat(5_000))),
        part(
            "c",
            "cloud-config",
            "a: \"--=vendordock-=\"\nrandom_seed: {file: /x}\n",
        ),
        part("d", "script", "#!/bin/sh\n\n\n\n"),
        part("e", "cloud-config-jinja", "b: '{{ nothing.at.all }}'\n"),
        part("f", "cloud-config-jinja", "b: '{% if %}'\n"),
        part("g", "cloud-config", "merge_how: nonsense\nc: 1\n"),
        part("h", "script", "#!/bin/sh\n# \u{1f600} \u{2028}\n"),
    ];
    let configuration = format!(
        r##"
        auth.require = "none"
        [targets.site]
        component = "parts.wasm"
        config.parts = [{}]
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["site"]
        "##,
        parts.join(", ")
    );

    let guest = boot(&configuration).await;

    assert_eq!(
        guest.names(),
        [
            "vendordock-0101-site-a___Content-Type__text_part-handler____.._.._.._etc_cron.d_x",
            "vendordock-0102-site-part",
            "vendordock-0103-site-c",
            "vendordock-0104-site-d",
            "vendordock-0105-site-e",
            "vendordock-0106-site-f",
            "vendordock-0107-site-g",
            "vendordock-0108-site-h",
        ]
    );
    let scripts: Vec<&str> = guest.scripts.values().map(String::as_str).collect();
    assert_eq!(scripts.len(), 4, "{scripts:?}");
    assert_eq!(scripts[0], hostile);
    assert_eq!(scripts[1].len(), 5_011);
    assert_eq!(scripts[2], "#!/bin/sh\n\n\n\n");
    assert_eq!(scripts[3], "#!/bin/sh\n# \u{1f600} \u{2028}\n");
    assert_eq!(guest.cloud_config["a"], "--=vendordock-=");
    assert!(
        guest
            .parts
            .iter()
            .all(|(content_type, _)| content_type != "text/part-handler"),
        "{:?}",
        guest.parts
    );
}

#[tokio::test]
async fn urls_to_include_are_fetched_by_the_guest() {
    let upstream = Upstream::start().await;
    let configuration = format!(
        r##"
        auth.require = "none"
        [targets.site]
        component = "parts.wasm"
        config.parts = [{{ name = "more", kind = "include-urls", content = "{}/more\n" }}]
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["site"]
        "##,
        upstream.url()
    );

    let (guest, ()) = tokio::join!(boot(&configuration), async {
        let asked = upstream.next().await;
        asked
            .answer("200 OK", &[], "#cloud-config\nruncmd: [included]\n")
            .await;
    });

    assert_eq!(guest.cloud_config, json!({ "runcmd": ["included"] }));
}

#[tokio::test]
async fn nothing_is_an_answer_that_a_guest_survives() {
    for on_failure in ["{}", "null"] {
        let guest = tokio::task::spawn_blocking(move || Guest::boot(on_failure));
        let guest = guest.await.expect("it boots");

        assert_eq!((guest.scripts.len(), guest.cloud_config), (0, json!({})));
    }
}

/// What `plugins/static` makes of a tenant's text, in a guest.
#[tokio::test]
async fn what_a_tenant_writes_is_a_text_in_the_guest_too() {
    let gateway = Gateway::start(
        r##"
        auth.require = "none"
        [targets.site]
        component = "static.wasm"
        [[targets.site.config.parts]]
        name = "names"
        cloud_config = { fqdn = "{{ hostname }}.example.test", write_files = [{ path = "/etc/tier", content = "{{ metadata.tier }}" }] }
        [[targets.site.config.parts]]
        name = "setup.sh"
        kind = "script"
        content = "\#!/bin/sh\nprintf %s \"$TIER\"\n"
        variables = { TIER = "{{ metadata.tier }}" }
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["site"]
        "##
        .replace("\\#", "#")
        .as_str(),
    )
    .await;
    let hostile = "'\"\n$(touch x)`id`\n#cloud-config\nruncmd: [evil] é\u{7f}{{ x }}\u{1f600}";
    let answer = gateway
        .ask("cloud-init", &instance(json!({ "tier": hostile })))
        .await;

    let guest = tokio::task::spawn_blocking(move || Guest::boot(&answer.body));
    let guest = guest.await.expect("it boots");

    assert_eq!(guest.log, Vec::<String>::new());
    assert_eq!(
        guest.cloud_config,
        json!({
            "fqdn": "web.example.test",
            "write_files": [{ "path": "/etc/tier", "content": hostile }],
        })
    );
    let script = guest.scripts.values().next().expect("there is one");
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", script])
        .output()
        .expect("there is a shell");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        hostile.replace('\u{7f}', " ")
    );
}
