//! Where the gateway listens: several places at once, Unix sockets, and sockets that systemd holds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::process::Child;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixDatagram, UnixStream};

use crate::gateway::Gateway;
use crate::program::{Directory, Lines, PATIENCE};

const ECHO: &str = r#"
    auth.require = "none"
    targets.echo = { component = "echo.wasm" }
"#;

const SERVE: [&str; 3] = ["serve", "--config", "vendordock.toml"];

/// The status of `/healthz` at a Unix socket.
async fn health(path: &Path) -> String {
    let asking = async {
        let mut stream = UnixStream::connect(path).await?;
        let request = b"GET /healthz HTTP/1.1\r\nHost: vendordock\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    let answer = answer.expect("in time").expect("the connection holds");
    answer.lines().next().unwrap_or_default().to_owned()
}

/// The last line of a program that cannot start.
async fn failed((mut child, _, stderr): (Child, Lines, Lines)) -> String {
    if stderr.ends().await {
        assert_eq!(child.wait().expect("it is our child").code(), Some(1));
        return stderr.text().lines().last().unwrap_or_default().to_owned();
    }
    child.kill().expect("it runs");
    panic!("it started:\n{}", stderr.text());
}

#[tokio::test]
async fn all_places_are_listened_at_and_told_in_their_order() {
    let gateway = Gateway::start(&format!(
        r#"
        server.listen = ["127.0.0.1:0", "unix:nova.sock", "http://[::1]:0"]
        admin.listen = "127.0.0.1:0"
        {ECHO}
        "#
    ))
    .await;

    let sixth = gateway.told("listening on http://[::1]:").await;
    let admin = gateway.told("administration on ").await;
    assert_eq!(gateway.told("listening on unix:").await, "nova.sock");

    for url in [
        format!("http://{}", gateway.address),
        format!("http://[::1]:{sixth}"),
        admin.clone(),
    ] {
        let answer = reqwest::get(format!("{url}/healthz")).await;
        assert_eq!(answer.expect("it listens").status(), 200, "{url}");
    }
    assert_eq!(health(&gateway.path("nova.sock")).await, "HTTP/1.1 200 OK");
    // No target is reached from there.
    let client = reqwest::Client::new();
    let answer = client
        .post(format!("{admin}/v1/echo"))
        .body("{}")
        .send()
        .await;
    assert_eq!(answer.expect("it listens").status(), 404);
}

#[tokio::test]
async fn a_unix_socket_has_its_mode_and_is_removed_at_the_end() {
    let mut gateway = Gateway::start(&format!(
        r#"
        server.listen = ["127.0.0.1:0", "unix:nova.sock"]
        server.unix_mode = "0606"
        {ECHO}
        "#
    ))
    .await;
    let path = gateway.path("nova.sock");
    gateway.told("listening on unix:").await;

    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(format!("{mode:o}"), "140606");

    gateway.signal("TERM");
    assert_eq!(gateway.exit_code().await, Some(0));
    let left: Vec<_> = fs::read_dir(path.parent().expect("a directory"))
        .expect("it is there")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter(|name| !name.contains("wasm") && name != "hostile")
        .collect();
    assert_eq!(left, ["vendordock.toml"]);
}

#[tokio::test]
async fn the_socket_of_a_process_that_died_is_replaced() {
    let directory = Directory::new();
    drop(StdUnixListener::bind(directory.path("nova.sock")).expect("a socket"));
    assert!(directory.path("nova.sock").exists());
    let listen = r#"server.listen = ["127.0.0.1:0", "unix:nova.sock"]"#;

    let gateway = Gateway::serve(directory, &format!("{listen}\n{ECHO}")).await;

    gateway.told("listening on unix:").await;
    assert_eq!(health(&gateway.path("nova.sock")).await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_place_that_is_taken_is_an_error_that_says_by_what() {
    let configuration = format!("server.listen = \"unix:nova.sock\"\n{ECHO}");
    let directory = Directory::new().with("vendordock.toml", configuration);
    let place = directory.path("nova.sock");
    let start = || failed(directory.spawn(&SERVE));

    fs::write(&place, "precious").expect("the directory is ours");
    let no_socket = start().await;
    assert_eq!(fs::read_to_string(&place).expect("it is there"), "precious");
    fs::remove_file(&place).expect("it is there");
    let _listening = StdUnixListener::bind(&place).expect("a socket");
    let in_use = start().await;

    let wrong = "vendordock: cannot listen on unix:nova.sock ([server] listen)";
    assert_eq!(
        [no_socket, in_use],
        [
            format!("{wrong}: there is a file of that name, which is no socket"),
            format!("{wrong}: another process listens there"),
        ]
    );
    assert!(place.exists(), "it is another's");
}

#[tokio::test]
async fn a_socket_that_systemd_holds_is_taken_over_by_its_name() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("it is bound");
    let configuration = format!("server.listen = \"systemd:nova\"\n{ECHO}");

    let gateway = Gateway::serve_by(Directory::new(), &configuration, |directory, arguments| {
        directory.spawn_activated(socket, arguments)
    })
    .await;

    assert_eq!(gateway.address, address);
    assert_eq!(gateway.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_unix_socket_that_systemd_holds_is_taken_over_and_left_behind() {
    let directory = Directory::new();
    let path = directory.path("held.sock");
    let socket = StdUnixListener::bind(&path).expect("a socket");
    let listen = r#"server.listen = ["127.0.0.1:0", "systemd:nova"]"#;

    let mut gateway = Gateway::serve_by(
        directory,
        &format!("{listen}\n{ECHO}"),
        |directory, arguments| directory.spawn_activated(socket, arguments),
    )
    .await;

    assert_eq!(
        gateway.told("listening on unix:").await,
        path.display().to_string()
    );
    assert_eq!(health(&path).await, "HTTP/1.1 200 OK");
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code().await, Some(0));
    assert!(path.exists(), "it is systemd's");
}

#[tokio::test]
async fn what_systemd_does_not_hand_over_or_should_not_is_an_error() {
    let configuration = format!("server.listen = \"systemd:nova\"\n{ECHO}");
    let directory = Directory::new().with("vendordock.toml", configuration);

    let none = failed(directory.spawn(&SERVE)).await;
    assert_eq!(
        none,
        "vendordock: cannot listen on systemd:nova ([server] listen): systemd handed over no such socket: start the \
         service by its .socket unit, and compare FileDescriptorName="
    );

    let open = std::net::TcpListener::bind("0.0.0.0:0").expect("a port");
    let address = open.local_addr().expect("it is bound");
    let refused = failed(directory.spawn_activated(open, &SERVE)).await;
    assert_eq!(
        refused,
        format!(
            "vendordock: cannot listen on systemd:nova ([server] listen): systemd handed over {address}, which can be \
             reached from other machines, and nobody has to prove who they are"
        )
    );
}

#[tokio::test]
async fn systemd_is_told_when_the_gateway_listens_and_when_it_stops() {
    let directory = Directory::new();
    let path = directory.path("notify.sock");
    let systemd = UnixDatagram::bind(&path).expect("a socket");
    let told = async || {
        let mut bytes = vec![0; 1_000];
        let length = tokio::time::timeout(PATIENCE, systemd.recv(&mut bytes)).await;
        bytes.truncate(length.expect("in time").expect("the socket holds"));
        String::from_utf8(bytes).expect("UTF-8")
    };

    let mut gateway = Gateway::serve_by(directory, ECHO, |directory, arguments| {
        let path = path.to_str().expect("UTF-8");
        directory.spawn_with(&[("NOTIFY_SOCKET", path)], arguments)
    })
    .await;

    assert_eq!(told().await, "READY=1\nSTATUS=serving\n");
    assert_eq!(gateway.get("/healthz").await.status, 200);
    gateway.signal("TERM");
    assert_eq!(told().await, "STOPPING=1\nSTATUS=stopping\n");
    assert_eq!(gateway.exit_code().await, Some(0));
}
