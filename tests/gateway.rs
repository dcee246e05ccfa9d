//! A gateway that serves, and requests as nova sends them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::program::{Directory, Lines, PATIENCE};

const SERVE: [&str; 3] = ["serve", "--config", "vendordock.toml"];

/// How long a gateway may take to start: it compiles its plugins, and a large one takes long in a program that was not optimised.
const STARTING: Duration = Duration::from_secs(600);

/// A running gateway, until it is dropped.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    child: Child,
    stdout: Lines,
    stderr: Lines,
    client: Client,
    directory: Directory,
}

/// What came back, to be compared whole: `{answer}` is status and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// The body that nova posts for an instance with this metadata.
pub(crate) fn instance(metadata: Value) -> Value {
    json!({
        "project-id": "039d104b7a5c4631b4ba6524d0b9e981",
        "instance-id": "a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11",
        "image-id": "70a599e0-31e7-49b7-b260-868f441e862b",
        "user-data": null,
        "hostname": "web",
        "metadata": metadata,
        "boot-roles": "member,reader",
    })
}

/// A configuration with what it does not say itself: a free port, and no waiting for a load balancer at the end.
fn for_a_test(configuration: &str) -> String {
    let mut given = String::new();
    for (key, value) in [
        ("server.listen", "\"127.0.0.1:0\""),
        ("server.drain_ms", "0"),
    ] {
        if !configuration.contains(key) {
            given += &format!("{key} = {value}\n");
        }
    }
    given + configuration
}

impl Gateway {
    /// Serves a configuration that needs no files but plugins.
    pub(crate) async fn start(configuration: &str) -> Self {
        Self::serve(Directory::new(), configuration).await
    }

    /// Serves a configuration, on a free port, and returns once it listens.
    pub(crate) async fn serve(directory: Directory, configuration: &str) -> Self {
        let directory = directory.with("vendordock.toml", for_a_test(configuration));
        let started = directory.spawn(&SERVE);
        Self::listening(directory, started).await
    }

    /// The same, started in another way: `start` gets the directory and the arguments.
    pub(crate) async fn serve_by(
        directory: Directory,
        configuration: &str,
        start: impl FnOnce(&Directory, &[&str]) -> (Child, Lines, Lines),
    ) -> Self {
        let directory = directory.with("vendordock.toml", for_a_test(configuration));
        let started = start(&directory, &SERVE);
        Self::listening(directory, started).await
    }

    /// Serves a configuration where the process may have this much address space only.
    pub(crate) async fn start_within(kib: u64, configuration: &str) -> Self {
        Self::serve_by(Directory::new(), configuration, |directory, arguments| {
            directory.spawn_within(kib, arguments)
        })
        .await
    }

    async fn listening(
        directory: Directory,
        (child, stdout, stderr): (Child, Lines, Lines),
    ) -> Self {
        let line = stdout.find_within(STARTING, |_first| true).await;
        let address = line
            .as_deref()
            .and_then(|line| line.strip_prefix("listening on http"))
            .map(|url| url.trim_start_matches("s").trim_start_matches("://"))
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("the gateway does not listen:\n{}", stderr.text()));
        // Fails when another test of this process was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().timeout(PATIENCE);
        Self {
            address,
            child,
            stdout,
            stderr,
            client: client.build().expect("the provider is installed"),
            directory,
        }
    }

    /// The kernel's number for it.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Where a file of this name is, in the directory that it was started in.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path(name)
    }

    /// What stands after this on standard output, once it is there.
    pub(crate) async fn told(&self, what: &str) -> String {
        let line = self.stdout.find(|line| line.starts_with(what)).await;
        let line = line.unwrap_or_else(|| panic!("{what:?} is not in {}", self.stdout.text()));
        line[what.len()..].to_owned()
    }

    /// Posts a body to `/v1/{target}`.
    pub(crate) async fn ask(&self, target: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, &format!("/v1/{target}"));
        Answer::to(request.json(body)).await
    }

    /// The same with a token.
    pub(crate) async fn ask_as(&self, token: &str, target: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, &format!("/v1/{target}"));
        Answer::to(request.header("X-Auth-Token", token).json(body)).await
    }

    /// Asks again and again, until the answer has this status.
    pub(crate) async fn ask_until(&self, status: u16, target: &str, body: &Value) -> Answer {
        let asking = async {
            loop {
                let answer = self.ask(target, body).await;
                if answer.status == status {
                    return answer;
                }
            }
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| panic!("{target} never answers {status}"))
    }

    /// Gets `/readyz` or its like.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    /// For a request to the administration's listener.
    pub(crate) async fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        let prefix = "administration on ";
        let line = self.stdout.find(|line| line.starts_with(prefix)).await;
        let line = line.expect("[admin] is configured");
        let url = format!("{}{path}", &line[prefix.len()..]);
        self.client.request(method, url)
    }

    /// Sends one there.
    pub(crate) async fn ask_admin(&self, method: Method, path: &str, body: &str) -> Answer {
        let request = self.admin(method, path).await;
        Answer::to(request.body(body.to_owned())).await
    }

    /// For a request that is not as nova's are.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        self.client.request(method, url)
    }

    /// Sends these bytes on a connection of their own, and returns what comes until the gateway closes it.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(bytes).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .expect("the gateway closes the connection in time")
            .expect("the connection holds")
    }

    /// The first line of the log that has all of these parts, once it is there.
    pub(crate) async fn log_line(&self, parts: &[&str]) -> String {
        let line = self
            .stderr
            .find(|line| parts.iter().all(|part| line.contains(part)))
            .await;
        line.unwrap_or_else(|| panic!("no line has {parts:?}:\n{}", self.stderr.text()))
    }

    /// What it was started in.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Replaces a file of the gateway's directory.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.directory.path(name), content).expect("the directory is ours");
    }

    /// Sends a signal, `TERM` or `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", "kill -$0 $1", name, &self.child.id().to_string()])
            .status()
            .expect("there is a shell");
        assert!(sent.success(), "the gateway is running");
    }

    /// Waits until the gateway has ended by itself.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        self.stderr.end().await;
        let status = self.child.wait().expect("it is our child");
        status.code()
    }

    /// Ends the gateway, and returns all that it wrote.
    pub(crate) async fn written(mut self) -> String {
        if self.child.try_wait().expect("it is our child").is_none() {
            self.signal("TERM");
        }
        self.exit_code().await;
        self.stdout.text() + &self.stderr.text()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Neither fails but for a gateway that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("The end of the gateway's log:");
            let log = self.stderr.text();
            let lines: Vec<&str> = log.lines().collect();
            for line in lines.iter().skip(lines.len().saturating_sub(50)) {
                eprintln!("{line}");
            }
        }
    }
}

impl Answer {
    /// Sends a request and reads the answer.
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the gateway answers");
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.expect("the answer is whole"),
        }
    }

    /// The value of a header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// What the log calls this request.
    pub(crate) fn request_id(&self) -> &str {
        self.header("x-openstack-request-id")
    }

    /// A member of the body, by JSON Pointer; null when it is not there.
    pub(crate) fn at(&self, pointer: &str) -> Value {
        let body: Value = serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the answer {self}"));
        body.pointer(pointer).cloned().unwrap_or_default()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.status, self.body)
    }
}
