//! What a person is told of answers for cloud-init: by `check` before there are any, by `request --explain` of one.

use crate::gateway::Gateway;
use crate::program::Directory;

#[test]
fn check_shows_what_is_composed_and_warns_of_a_name_that_cloud_init_would_ignore() {
    let finished = Directory::new()
        .with(
            "vendordock.toml",
            r##"
            auth.require = "none"
            [targets.site]
            component = "parts.wasm"
            expose = false
            [targets.first-boot]
            kind = "cloud-init"
            on_failure = "empty"
            compose = ["site"]
            [targets.cloud-init]
            component = "parts.wasm"
            "##,
        )
        .run(&["check", "--config", "vendordock.toml"]);

    assert_eq!(finished.code, Some(0), "{finished:?}");
    // Not what other tests compare: limits, which are indented further, the machine and the state.
    let told = finished.stdout.lines().filter(|line| {
        let elsewhere = [
            "component",
            "calls",
            "memory",
            "limits",
            "user data",
            "state in",
        ];
        !line.starts_with("    ") && !elsewhere.iter().any(|word| line.contains(word))
    });
    let told: Vec<&str> = told.collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    listen on 127.0.0.1:9090
    cloud default: callers show nothing
    target cloud-init: parts 0.1.0 (Gives the parts for cloud-init that it is configured with)
      serves cloud default
    target first-boot: composed
      of site, left out if it fails
      serves cloud default
      answers with text for cloud-init
      answers null where it fails and the caller is not to blame
      timeout 4000 ms, answer 65536 bytes, kept at most 3600000 ms
    target site: parts 0.1.0 (Gives the parts for cloud-init that it is configured with)
      serves cloud default
      nova cannot ask for it: others are composed of it
    warning: target cloud-init answers with an object, which cloud-init ignores under this name: write `kind = "cloud-init"`
    warning: target first-boot answers with text for cloud-init, which reads the target `cloud-init` and no other
    vendordock.toml: all well
    "#);
}

/// What `vendordock request --explain` says of a target.
async fn explained(gateway: &Gateway, target: &str) -> String {
    let url = format!("http://{}", gateway.address);
    let arguments = ["request", target, "--explain", "--url", &url].map(str::to_owned);
    let running = tokio::task::spawn_blocking(move || {
        Directory::new().run(&arguments.each_ref().map(String::as_str))
    });
    let finished = running.await.expect("it ends");
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout
}

#[tokio::test]
async fn a_person_is_told_what_cloud_init_does_with_an_answer() {
    let gateway = Gateway::start(
        r##"
        auth.require = "none"
        [targets.join]
        component = "answers.wasm"
        [targets.site]
        component = "parts.wasm"
        config.parts = [
            { name = "motd", kind = "cloud-config", content = "runcmd: [date]\npackages: [vim]\n" },
            { name = "setup.sh", kind = "script", content = "#!/bin/sh\n" },
        ]
        [targets.backup]
        component = "parts.wasm"
        config.parts = [{ name = "agent", kind = "cloud-config", content = "packages: [agent]\n" }]
        [targets.cloud-init]
        kind = "cloud-init"
        compose = ["site", "backup"]
        "##,
    )
    .await;

    insta::assert_snapshot!(explained(&gateway, "cloud-init").await, @r"
    cloud-init reads a MIME message of 977 bytes with 3 parts:

    1. vendordock-0101-site-motd: cloud-config (text/cloud-config, 45 bytes)
       runcmd: a list of 1; a tenant's own replaces it whole.
       packages: a list of 1; a tenant's own replaces it whole.

    2. vendordock-0102-site-setup.sh: a script (text/x-shellscript, 10 bytes)
       Run once, as root, late in the first boot, from /var/lib/cloud/instance/scripts/vendor, by /bin/sh.

    3. vendordock-0201-backup-agent: cloud-config (text/cloud-config, 32 bytes)
       packages: a list of 1; a tenant's own replaces it whole.

    Parts 1 and 3 set packages: lists are joined, and of values the first counts.

    It takes this from the metadata service since cloud-init 21.1, from a config drive since 22.2; older ones ignore it.
    It runs once for each instance id; what it says stays in /var/lib/cloud/instance/vendor-data2.txt, for root to read.
    The tenant's user data can switch it off: `vendor_data2: {enabled: false}`.
    ");
    insta::assert_snapshot!(explained(&gateway, "join").await, @r#"
    cloud-init ignores this answer: of vendor_data2.json it reads the target named `cloud-init` and no other.
    It is for programs in the guest that look for it:
      curl -s http://169.254.169.254/openstack/latest/vendor_data2.json | jq '.["join"]'
    or openstack/latest/vendor_data2.json on the config drive.
    "#);
}
