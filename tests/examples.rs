//! The examples, which are the first thing that an operator copies.

use std::fs;

use crate::program::Directory;

fn example(name: &str) -> String {
    let path = format!("{}/../examples/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("examples/ has it")
}

/// The same with files of ours in place of the operator's.
fn example_here(name: &str) -> String {
    example(name)
        .replace("/usr/lib/vendordock/plugins/", "")
        .replace("/etc/ipa/ca.crt", "ca.pem")
        .replace("/etc/vendordock/openstack-ca.pem", "ca.pem")
        .replace("/etc/vendordock/", "")
}

fn directory(configuration: &str) -> Directory {
    Directory::new()
        .with("vendordock.toml", configuration)
        .with("ca.pem", vendordock_stand_ins::Authority::new().ca_pem())
        .with("keystone-password", "secret")
        .with("ipa-password", "secret")
}

#[test]
fn the_example_of_a_configuration_is_a_good_one() {
    let finished =
        directory(&example_here("vendordock.toml")).run(&["check", "--config", "vendordock.toml"]);

    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
}

#[test]
fn what_the_example_shows_as_a_default_is_the_default() {
    let shown =
        directory(&example_here("vendordock.toml")).run(&["check", "--config", "vendordock.toml"]);
    let without_defaults: String = example_here("vendordock.toml")
        .lines()
        .filter(|line| {
            let key = line.split(" = ").next().unwrap_or_default();
            let needed = [
                "auth_url",
                "ca_file",
                "username",
                "password",
                "component",
                "to",
                "networks",
                "secret",
                "origins",
                "schemes",
                "domain",
                "servers",
                "user",
            ];
            !line.contains(" = ") || needed.contains(&key)
        })
        .map(|line| format!("{line}\n"))
        .collect();

    let bare = directory(&without_defaults).run(&["check", "--config", "vendordock.toml"]);

    assert_eq!((bare.code, bare.stdout), (Some(0), shown.stdout));
}

#[test]
fn the_example_of_a_configuration_has_every_key_there_is() {
    let example = example("vendordock.toml");
    let tables = [
        "server",
        "server.tls",
        "admin",
        "auth",
        "auth.client_certificate",
        "keystone",
        "keystone.jws",
        "keystone.accept",
        "openstack",
        "cache",
        "engine",
        "log",
        "admin",
        "traces",
        "targets.join",
        "[targets.join.egress]",
        "targets.join.egress_limits",
        "targets.join.credentials.ipa",
        "targets.join.headers.access",
    ];

    for table in tables {
        let text = format!("[{table}]\nxxxxxxxx = 1\n");
        let directory = Directory::new().with("vendordock.toml", text);
        let finished = directory.run(&["check", "--config", "vendordock.toml"]);
        let (_, known) = finished
            .stderr
            .split_once("unknown key `xxxxxxxx`; known here: ")
            .unwrap_or_else(|| panic!("[{table}]: {}", finished.stderr));
        let known = known.lines().next().expect("it goes on");
        // A table that opens a port, or sends something away, is shown and not on.
        let (_, section) = example
            .split_once(&format!("[{table}]\n"))
            .unwrap_or_else(|| panic!("[{table}] is not in the example"));
        let next_table = |line: &&str| line.trim_start_matches('#').starts_with('[');
        let section: Vec<&str> = section
            .lines()
            .take_while(|line| !next_table(line))
            .collect();
        for key in known.split(", ") {
            // Shown as tables of their own.
            let tables = [
                "accept",
                "client_certificate",
                "config",
                "credentials",
                "egress",
                "egress_limits",
                "headers",
                "jws",
                "static_tokens",
                "tls",
            ];
            let shown = section.iter().any(|line| {
                line.trim_start_matches('#')
                    .starts_with(&format!("{key} = "))
            });
            assert!(shown || tables.contains(&key), "{key} of [{table}]");
        }
    }
}

#[test]
fn the_example_of_novas_configuration_is_what_the_gateway_prints() {
    let finished = directory(&example_here("vendordock.toml")).run(&[
        "nova-conf",
        "--config",
        "vendordock.toml",
        "--url",
        "https://vendordata.example.test/",
    ]);

    let without_comments = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    assert_eq!(finished.code, Some(0));
    assert_eq!(
        without_comments(&finished.stdout),
        without_comments(&example_here("nova.conf"))
    );
}
