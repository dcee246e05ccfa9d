//! What `check` and `serve` say of a configuration, before anything is served.

use std::net::TcpListener;

use crate::program::{Directory, Finished};

/// A configuration with nothing wrong in it, and one thing to warn of.
const GOOD: &str = r#"
server.listen = "127.0.0.1:9090"
[keystone]
auth_url = "https://keystone.example.test:5000"
username = "vendordock"
password = { file = "password" }
[targets.join]
component = "join.wasm"
egress = ["https://ipa.example.test"]
[targets.join.credentials.ipa]
secret = { env = "IPA_PASSWORD" }
origins = ["https://ipa.example.test"]
[targets.join.config]
domain = "example.test"
servers = ["https://ipa.example.test"]
user = "vendordock"
[targets.echo]
component = "echo.wasm"
timeout_ms = 6000
user_data = true
"#;

pub(crate) fn good() -> Directory {
    Directory::new()
        .with("vendordock.toml", GOOD)
        .with("password", "secret")
}

fn check(directory: &Directory) -> Finished {
    let variables = [
        ("VENDORDOCK_CONFIG", "vendordock.toml"),
        ("IPA_PASSWORD", "secret"),
    ];
    directory.run_with(&variables, &["check"])
}

#[test]
fn check_tells_what_a_good_configuration_would_serve() {
    let finished = check(&good());

    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    insta::assert_snapshot!(finished.stdout, @r#"
    listen on 127.0.0.1:9090
    cloud default: callers show a keystone token
      validated at keystone https://keystone.example.test:5000/v3
      accepted: any of the roles service and any of the projects service of domain Default
    plugin calls: at most 64 at once, memory from a pool
    state in /var/lib/vendordock/state.redb, at most 268435456 bytes, sealed with /var/lib/vendordock/state.key; no target is granted any
    components: at most 67108864 bytes, 60000 ms to compile
    target echo: echo 0.1.0 (Answers with all that it got)
      component echo.wasm
      serves cloud default
      user data granted
      limits:
        timeout_ms        6000
        cpu_time_ms       1000
        memory_bytes      67108864
        table_elements    100000
        instances         32
        handles           1000
        host_call_bytes   8388608
        response_bytes    65536
        response_depth    32
        log_lines         100
        log_bytes         32768
        concurrent_calls  16
        waiting_calls     64
        cache_max_ttl_ms  3600000
        breaker           5 faults in 60000 ms pause it for 1000 to 60000 ms
      warning: timeout_ms = 6000 is not under nova's default vendordata_dynamic_read_timeout of 5 seconds: nova will have given up
    target join: join 0.1.0 (Enrols instances at FreeIPA)
      component join.wasm
      serves cloud default
      user data withheld
      limits:
        timeout_ms        4000
        cpu_time_ms       1000
        memory_bytes      67108864
        table_elements    100000
        instances         32
        handles           1000
        host_call_bytes   8388608
        response_bytes    65536
        response_depth    32
        log_lines         100
        log_bytes         32768
        concurrent_calls  16
        waiting_calls     64
        cache_max_ttl_ms  3600000
        breaker           5 faults in 60000 ms pause it for 1000 to 60000 ms
      may call "https://ipa.example.test", sending 1048576 bytes, receiving 1048576, connecting within 2000 ms
      one call: at most 32 requests, 8 at once, 8388608 bytes sent, 8388608 received; wasi:http withheld
      may use credential ipa from $IPA_PASSWORD: sent to https://ipa.example.test by any scheme
    vendordock.toml: all well
    "#);
}

#[test]
fn check_and_serve_name_all_mistakes_of_a_file_in_one_run_before_a_port_is_opened() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("the kernel has a free port");
    let address = taken.local_addr().expect("it is bound");
    let directory = Directory::new().with(
        "vendordock.toml",
        format!(
            r#"[server]
listen = "{address}"
body_limit = 1000

[auth]
require = "nobody"

[targets.join]
component = "join.wasm"
timeout_ms = "4 s"
egress = ["https://IPA.example.test"]

[targets.static]
component = "echo.wasm"

[targets.echo]
"#
        ),
    );

    let checked = directory.run(&["check", "--config", "vendordock.toml"]);
    let served = directory.run(&["serve", "--config", "vendordock.toml"]);

    assert_eq!((checked.code, &*checked.stdout), (Some(2), ""));
    insta::assert_snapshot!(checked.stderr, @r#"
    vendordock.toml:3: server.body_limit: unknown key `body_limit`; did you mean `body_limit_bytes`?
    vendordock.toml:6: auth.require: unknown variant `nobody`, expected one of `keystone`, `client-certificate`, `static-token`, `none`
    vendordock.toml:10: targets.join.timeout_ms: invalid type: string "4 s", expected a nonzero u32
    vendordock.toml:11: targets.join.egress: `https://IPA.example.test` is not how a rule is written; write `https://ipa.example.test`
    vendordock.toml:13: targets.static: nova keeps the name `static` for its own provider and drops what a target of that name answers
    vendordock.toml:16: targets.echo: the key `component` is missing
    "#);
    assert_eq!((served.code, &*served.stdout), (Some(2), ""));
    assert_eq!(served.stderr, checked.stderr);
}

#[test]
fn check_names_what_only_loading_can_find_with_line_and_key() {
    let directory = Directory::new().with(
        "vendordock.toml",
        r#"
[keystone]
auth_url = "https://keystone.example.test:5000"
username = "vendordock"
password = { file = "no-password" }

[targets.missing]
component = "missing.wasm"

[targets.hurried]
component = "echo.wasm"

[targets.hurried.config]
scope = "everyone"

[targets.secretive]
component = "fetch.wasm"
egress = ["https://ipa.example.test"]

[targets.secretive.credentials.key]
secret = { env = "NO_SUCH_VARIABLE" }
origins = ["https://ipa.example.test"]
"#,
    );

    let finished = directory.run(&["check", "--config", "vendordock.toml"]);

    assert_eq!(finished.code, Some(2));
    insta::assert_snapshot!(finished.stderr, @r#"
    vendordock.toml:5: keystone.password: the secret file no-password cannot be read: No such file or directory (os error 2)
    vendordock.toml:7: targets.missing: component missing.wasm cannot be read: No such file or directory (os error 2)
    vendordock.toml:14: targets.hurried.config.scope: "everyone" is not one of "none", "instance" or 2 other candidates
    vendordock.toml:20: targets.secretive.credentials.key: credential `key`: the environment variable NO_SUCH_VARIABLE is not set
    "#);
}

#[test]
fn a_configuration_that_is_not_there_is_said_to_be_missing() {
    for command in ["check", "serve", "nova-conf"] {
        let finished = Directory::new().run(&[command, "--config", "vendordock.toml"]);
        assert_eq!(finished.code, Some(2));
        assert_eq!(
            finished.stderr,
            "vendordock.toml: cannot be read: No such file or directory (os error 2)\n"
        );
    }
}

#[test]
fn serve_refuses_to_be_reached_by_others_without_authentication() {
    let directory = Directory::new().with(
        "vendordock.toml",
        r#"
server.listen = "0.0.0.0:0"
auth.require = "none"
targets.echo = { component = "echo.wasm" }
"#,
    );

    let finished = directory.run(&["serve", "--config", "vendordock.toml"]);

    assert_eq!((finished.code, &*finished.stdout), (Some(2), ""));
    insta::assert_snapshot!(finished.stderr, @r#"vendordock.toml:2: server.listen: 0.0.0.0:0 can be reached from other machines, and [auth] has `require = "none"`: whoever connects could ask for any instance's secrets. Listen on 127.0.0.1 or [::1] or a Unix socket, require a proof, or write `anyone_who_reaches_the_port_may_ask = true` under [auth]"#);
}

#[test]
fn serve_says_which_address_it_cannot_have() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("the kernel has a free port");
    let address = taken.local_addr().expect("it is bound");
    let directory = Directory::new().with(
        "vendordock.toml",
        format!(
            r#"
server.listen = "{address}"
auth.require = "none"
targets.echo = {{ component = "echo.wasm" }}
"#
        ),
    );

    let finished = directory.run(&["serve", "--config", "vendordock.toml"]);

    assert_eq!((finished.code, &*finished.stdout), (Some(1), ""));
    let last = finished.stderr.lines().last().expect("a line");
    assert_eq!(
        last,
        format!(
            "vendordock: cannot listen on {address} ([server] listen): Address already in use (os error 98)"
        )
    );
}

#[test]
fn every_file_that_is_missing_is_told_in_one_run() {
    let directory = Directory::new().with(
        "vendordock.toml",
        GOOD.replace("username", "ca_file = \"ca.pem\"\nusername")
            .replace("domain = \"example.test\"", "domain = \"example.test\"\ncolour = \"blue\"")
            .replace("[targets.echo]\n", "[targets.echo]\nca_file = \"no.pem\"\n")
            + "egress = [\"https://a.example.test\"]\n\
               credentials.a = { secret = { file = \"no-secret\" }, origins = [\"https://a.example.test\"] }\n",
    );

    let finished = check(&directory);

    assert_eq!(finished.code, Some(2));
    insta::assert_snapshot!(finished.stderr, @"
    vendordock.toml:5: keystone.ca_file: ca_file ca.pem cannot be read: No such file or directory (os error 2)
    vendordock.toml:7: keystone.password: the secret file password cannot be read: No such file or directory (os error 2)
    vendordock.toml:14: targets.join.config: Additional properties are not allowed ('colour' was unexpected)
    vendordock.toml:20: targets.echo.ca_file: ca_file no.pem cannot be read: No such file or directory (os error 2)
    vendordock.toml:25: targets.echo.credentials.a: credential `a`: the secret file no-secret cannot be read: No such file or directory (os error 2)
    ");
}
