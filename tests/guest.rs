//! A guest, as far as vendor data matters: Debian's cloud-init, whose own classes read an answer without touching the
//! machine (`tests/cloud-init/guest.py`).
//!
//! It runs in the environment that `cargo xtask test` makes once and names in `VENDORDOCK_CLOUD_INIT`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What cloud-init has made of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Guest {
    /// What runs late in the first boot, by the order of their names.
    pub(crate) scripts: BTreeMap<String, String>,
    /// What runs at every boot.
    pub(crate) boothooks: BTreeMap<String, String>,
    /// What the cloud-configs of vendor_data2 come to.
    pub(crate) cloud_config: Value,
    /// What those of all sources come to.
    pub(crate) with_user_data: Value,
    /// Content type and file name of each part, in their order.
    pub(crate) parts: Vec<(String, String)>,
    /// What cloud-init warned of.
    pub(crate) log: Vec<String>,
}

/// What else a guest finds on its config drive.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Drive<'a> {
    /// nova's static vendor data.
    pub(crate) vendor_data: Option<Value>,
    /// The tenant's.
    pub(crate) user_data: &'a str,
}

impl Guest {
    /// Boots with this answer of the target `cloud-init`.
    pub(crate) fn boot(answer: &str) -> Self {
        Self::boot_with(answer, &Drive::default())
    }

    /// The same with more on the drive.
    pub(crate) fn boot_with(answer: &str, drive: &Drive) -> Self {
        let answer: Value = serde_json::from_str(answer).expect("nova reads JSON");
        let mut question = serde_json::to_value(drive).expect("it is JSON");
        question["vendor_data2"] = json!({ "cloud-init": answer, "join": { "hostname": "web" } });

        let environment = std::env::var_os("VENDORDOCK_CLOUD_INIT").expect(
            "VENDORDOCK_CLOUD_INIT is not set: run `cargo xtask test`, which makes the environment with cloud-init and \
             sets it",
        );
        let directory = tempfile::tempdir().expect("there is room for a directory");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cloud-init/guest.py");
        let mut child = Command::new(Path::new(&environment).join("bin/python"))
            // Neither PYTHONPATH nor the user's own packages.
            .args(["-I", "-Xutf8", script])
            .arg(directory.path())
            .env("no_proxy", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the environment has a Python");
        let mut stdin = child.stdin.take().expect("it is piped");
        write!(stdin, "{question}").expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it is our child");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            panic!("cloud-init does not boot: {error}\n{complaint}")
        })
    }

    /// The names of its parts, as they came.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.parts.iter().map(|(_, name)| name.as_str()).collect()
    }
}
