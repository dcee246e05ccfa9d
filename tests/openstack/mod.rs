//! The other side of the wire, for real: a keystone, a glance, and nova's own code that asks for vendordata.
//!
//! All are Python programs beside this file. They run in the virtual environment that `cargo xtask test` makes
//! once and names in `VENDORDOCK_OPENSTACK`. Each is driven over its stdin and stdout, and ends with its stdin:
//! also when a test panics, and when the whole test binary is killed.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A keystone of its own, with fernet tokens or signed ones.
///
/// Its users are `nova` and `vendordock` with role `service` in project `service`; `plain`, a member of `service`
/// and of `demo`; `adminother`, an admin of `demo`; and `admin`, whose project is `admin`.
pub(crate) struct Keystone {
    /// With the `/v3`, as nova and we are configured with.
    pub(crate) auth_url: String,
    passwords: HashMap<String, String>,
    project_ids: HashMap<String, String>,
    public_keys: PathBuf,
    program: Mutex<Program>,
}

impl Keystone {
    /// Returns once keystone answers, some three seconds later.
    pub(crate) fn start() -> Self {
        Self::start_with("fernet")
    }

    /// The same with signed tokens.
    pub(crate) fn start_jws() -> Self {
        Self::start_with("jws")
    }

    fn start_with(token_provider: &str) -> Self {
        #[derive(Deserialize)]
        struct Announcement {
            auth_url: String,
            passwords: HashMap<String, String>,
            project_ids: HashMap<String, String>,
            public_keys: PathBuf,
        }

        let mut program =
            Program::start("keystone_server.py", &["--token-provider", token_provider]);
        let announcement = program.hear();
        let announcement: Announcement =
            serde_json::from_value(announcement).expect("keystone_server.py prints these");
        Self {
            auth_url: announcement.auth_url,
            passwords: announcement.passwords,
            project_ids: announcement.project_ids,
            public_keys: announcement.public_keys,
            program: Mutex::new(program),
        }
    }

    /// The directory of keystone's public keys, `public.pem` at first. There is one where tokens are signed.
    pub(crate) fn public_keys(&self) -> &Path {
        &self.public_keys
    }

    /// Makes keystone sign with a new key from now on. Its public key is in the directory, in this file, before the
    /// first token is signed with it; the old one stays there.
    pub(crate) fn rotate(&self, file: &str) {
        let mut program = self.program.lock().expect("no question has failed before");
        program.tell(&json!({ "rotate": file }));
        program.hear();
    }

    /// What a service is configured with that calls itself `username`.
    pub(crate) fn account(&self, username: &str, project_name: &str) -> Account {
        Account {
            auth_url: self.auth_url.clone(),
            username: username.to_owned(),
            password: self.passwords[username].clone(),
            project_name: project_name.to_owned(),
        }
    }

    /// The id of project `service` or `demo`.
    pub(crate) fn project_id(&self, name: &str) -> &str {
        &self.project_ids[name]
    }

    /// A fresh token, for the callers that nova is not.
    pub(crate) fn token(&self, username: &str, project_name: &str) -> String {
        let user = json!({
            "name": username,
            "domain": { "name": "Default" },
            "password": self.passwords[username],
        });
        let project = json!({ "name": project_name, "domain": { "name": "Default" } });
        let body = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": user } },
            "scope": { "project": project },
        }})
        .to_string();
        let head = format!(
            "POST /v3/auth/tokens HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        let answer = self.ask(&head, &body);
        answer
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("X-Subject-Token"))
            .unwrap_or_else(|| {
                let log = self
                    .program
                    .lock()
                    .expect("no question has failed before")
                    .log();
                panic!("keystone gives {username} no token:\n{answer}\nIts log:\n{log}")
            })
            .1
            .to_owned()
    }

    /// Revokes a token, as whom it belongs to.
    pub(crate) fn revoke(&self, token: &str) {
        let head = format!(
            "DELETE /v3/auth/tokens HTTP/1.1\r\nX-Auth-Token: {token}\r\nX-Subject-Token: {token}"
        );
        let answer = self.ask(&head, "");
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    }

    /// Puts a service into the catalogue, for everybody in the region that keystone made for itself.
    pub(crate) fn list(&self, service_type: &str, url: &str) {
        let token = self.token("admin", "admin");
        let service = json!({"service": {"type": service_type, "name": service_type}});
        let service = self.make(&token, "services", &service);
        self.make(
            &token,
            "endpoints",
            &json!({"endpoint": {
                "service_id": service["service"]["id"],
                "interface": "public",
                "region": "RegionOne",
                "url": url,
            }}),
        );
    }

    fn make(&self, token: &str, resource: &str, body: &Value) -> Value {
        let answer = self.ask(
            &post(&format!("/v3/{resource}"), token, body),
            &body.to_string(),
        );
        created(&answer)
    }

    /// Sends a request, on a connection of its own, and returns the whole answer.
    fn ask(&self, head: &str, body: &str) -> String {
        exchange(self.auth_url.trim_end_matches("/v3"), head, body)
    }
}

/// A glance of its own that takes a keystone's tokens, with nothing in it.
pub(crate) struct Glance {
    /// Without a version.
    pub(crate) url: String,
    _program: Program,
}

impl Glance {
    /// Returns once glance answers, some four seconds later.
    pub(crate) fn start(keystone: &Keystone) -> Self {
        let Account {
            auth_url,
            username,
            password,
            ..
        } = keystone.account("nova", "service");
        let mut program = Program::start(
            "glance_server.py",
            &[
                "--auth-url",
                &auth_url,
                "--username",
                &username,
                "--password",
                &password,
            ],
        );
        let announcement = program.hear();
        let url = announcement["url"]
            .as_str()
            .expect("glance_server.py prints it");
        Self {
            url: url.to_owned(),
            _program: program,
        }
    }

    /// Makes an image without data, as whom the token belongs to.
    pub(crate) fn add_image(&self, token: &str, image: &Value) {
        let answer = exchange(
            &self.url,
            &post("/v2/images", token, image),
            &image.to_string(),
        );
        created(&answer);
    }
}

fn post(path: &str, token: &str, body: &Value) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nX-Auth-Token: {token}\r\nContent-Type: application/json\r\nContent-Length: {}",
        body.to_string().len()
    )
}

fn created(answer: &str) -> Value {
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    assert!(head.starts_with("HTTP/1.1 201 "), "{answer}");
    serde_json::from_str(body).expect("what was made")
}

/// Sends a request to one of the programs, on a connection of its own, and returns the whole answer.
fn exchange(url: &str, head: &str, body: &str) -> String {
    let host = url.strip_prefix("http://").expect("it serves plain HTTP");
    let mut stream = TcpStream::connect(host).expect("it is listening");
    write!(
        stream,
        "{head}\r\nHost: {host}\r\nConnection: close\r\n\r\n{body}"
    )
    .expect("it reads the request");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("it answers in UTF-8");
    answer
}

/// A user of keystone as a service's configuration names it, by its options in nova.conf.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) auth_url: String,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) project_name: String,
}

impl Account {
    /// The same as a section of nova.conf.
    pub(crate) fn section(&self) -> Value {
        json!({
            "auth_type": "password",
            "auth_url": self.auth_url,
            "username": self.username,
            "password": self.password,
            "project_name": self.project_name,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        })
    }
}

/// Nova's side of a request: its configuration, HTTP session, keystone plugin and error handling.
///
/// The methods wait without holding up the runtime, so that a stand-in can answer from the same test.
pub(crate) struct NovaClient {
    program: Arc<Mutex<Program>>,
}

impl NovaClient {
    /// Returns at once. The first [`configure`](Self::configure) waits until nova is imported, which takes a
    /// second or two.
    pub(crate) fn start() -> Self {
        let program = Program::start("nova_client.py", &[]);
        Self {
            program: Arc::new(Mutex::new(program)),
        }
    }

    /// Starts nova over: a new nova.conf, session, connection pool and token.
    pub(crate) async fn configure(&self, configuration: Configuration) {
        self.ask(json!({ "configure": configuration })).await;
    }

    /// What `DynamicVendorData` returns for the instance: the answers of all targets, by name.
    pub(crate) async fn get(&self, instance: &Instance<'_>) -> Answer {
        self.get_at_once(1, instance).await
    }

    /// The same from several threads, as several guests or workers would.
    pub(crate) async fn get_at_once(&self, calls: usize, instance: &Instance<'_>) -> Answer {
        self.ask_for("vendordata", calls, instance).await
    }

    /// The `vendor_data2.json` that the metadata service answers a guest's GET with.
    pub(crate) async fn metadata(&self, instance: &Instance<'_>) -> Answer {
        self.ask_for("metadata", 1, instance).await
    }

    /// Each `vendor_data2.json` on a config drive, by its path there. Nova asks anew for every one.
    pub(crate) async fn config_drive(&self, instance: &Instance<'_>) -> Answer {
        self.ask_for("config-drive", 1, instance).await
    }

    async fn ask_for(&self, view: &str, calls: usize, instance: &Instance<'_>) -> Answer {
        let answer = self
            .ask(json!({ "get": instance, "view": view, "parallel": calls }))
            .await;
        serde_json::from_value(answer).expect("nova_client.py answers with these")
    }

    async fn ask(&self, question: Value) -> Value {
        let program = Arc::clone(&self.program);
        tokio::task::spawn_blocking(move || {
            let mut program = program.lock().expect("no question has failed before");
            program.tell(&question);
            program.hear()
        })
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

/// What nova.conf says of dynamic vendordata. What is `None` is left to nova's default.
#[derive(Default, Serialize)]
pub(crate) struct Configuration {
    /// `name@url` each.
    pub(crate) targets: Vec<String>,
    /// The section `[vendordata_dynamic_auth]`, its plugin's options. Without, nova sends no token.
    pub(crate) auth: Option<Value>,
    pub(crate) connect_timeout: Option<u32>,
    pub(crate) read_timeout: Option<u32>,
    pub(crate) failure_fatal: bool,
    /// Whom nova trusts when a target is `https`.
    pub(crate) ssl_certfile: Option<PathBuf>,
    /// Nova's own certificate, with its key.
    pub(crate) certfile: Option<PathBuf>,
    pub(crate) keyfile: Option<PathBuf>,
}

/// What of an instance reaches vendordata, under nova's own names.
#[derive(Clone, Default, Serialize)]
pub(crate) struct Instance<'a> {
    pub(crate) uuid: &'a str,
    pub(crate) project_id: &'a str,
    /// Empty for an instance that boots from a volume.
    pub(crate) image_ref: &'a str,
    /// In base64.
    pub(crate) user_data: Option<&'a str>,
    pub(crate) hostname: &'a str,
    pub(crate) metadata: BTreeMap<&'a str, &'a str>,
    /// Joined with commas.
    pub(crate) boot_roles: Option<&'a str>,
}

/// How nova's calls ended, and what it said meanwhile.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) results: Vec<Value>,
    /// Of the calls that raised: in nova, the instance's boot or the guest's GET fails.
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) log: Vec<String>,
}

impl Answer {
    /// The result of one call that did not raise.
    pub(crate) fn result(&self) -> &Value {
        match (self.results.as_slice(), self.exceptions.as_slice()) {
            ([result], []) => result,
            _ => panic!("not one result: {self:#?}"),
        }
    }
}

/// What Python raised.
#[derive(Debug, Deserialize)]
pub(crate) struct Exception {
    /// With its module.
    pub(crate) class: String,
    pub(crate) message: String,
}

/// One of the Python programs beside this file, in a directory of its own.
struct Program {
    child: Child,
    /// Taken when the program is to end.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
    _directory: TempDir,
}

impl Program {
    fn start(script: &str, arguments: &[&str]) -> Self {
        let environment = std::env::var_os("VENDORDOCK_OPENSTACK").expect(
            "VENDORDOCK_OPENSTACK is not set: run `cargo xtask test`, which makes the environment with nova, keystone \
             and glance and sets it",
        );
        let python = Path::new(&environment).join("bin/python");
        let script =
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/openstack")).join(script);
        let directory = tempfile::tempdir().expect("there is room for a directory");
        let log = directory.path().join("log");
        let mut child = Command::new(&python)
            // Neither PYTHONPATH nor the user's own packages.
            .args(["-I", "-Xutf8"])
            .arg(script)
            .arg(directory.path())
            .args(arguments)
            // All is on loopback, whatever proxy the developer has.
            .env("no_proxy", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("the directory is ours"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", python.display()));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("stdout is piped");
        Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
            log,
            _directory: directory,
        }
    }

    fn tell(&mut self, question: &Value) {
        let stdin = self.stdin.as_mut().expect("only drop takes it");
        // Where this fails, the program has ended, and `hear` will say why.
        let _ = writeln!(stdin, "{question}");
    }

    /// What it wrote to its standard error.
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.stdout
            .read_line(&mut line)
            .expect("the program writes UTF-8");
        serde_json::from_str(&line).unwrap_or_else(|error| {
            let log = self.log();
            panic!("the program answered {line:?}, which is not JSON: {error}. Its log:\n{log}")
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
