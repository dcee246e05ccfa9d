//! What a flood of bad tokens does to the gateway: to its memory, and to keystone.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::figures;
use crate::gateway::{Server, Site};
use crate::process;

const TOKENS: f64 = 100_000.0;

/// The first of them fill what is bounded: caches, connections, the allocator's own stores.
const WARM_UP: f64 = 20_000.0;

pub(super) async fn run(wrk: &Path, gateway: &Path, bench: &Path) -> Result<()> {
    println!("\na flood of {TOKENS} bad tokens, each another, after {WARM_UP} to warm up");
    println!(
        "  {:<26} {:>10} {:>12} {:>12} {:>16}",
        "", "requests/s", "MiB before", "MiB after", "keystone asked"
    );
    let key = rcgen::KeyPair::generate().context("the system has no random bytes")?;
    for (name, table) in [
        ("validated by keystone", ""),
        (
            "[keystone.jws] filter",
            "\n[keystone.jws]\nmode = \"filter\"\npublic_keys = \"jws\"\n",
        ),
    ] {
        let site = Site::start().await?;
        std::fs::create_dir(site.directory().join("jws"))?;
        std::fs::write(
            site.directory().join("jws/public.pem"),
            key.public_key_pem(),
        )?;
        let configuration = format!(
            "{}{table}\n[targets.x]\ncomponent = {bench:?}\n[log]\nfilter = \"error\"\n",
            site.base_configuration()
        );
        let server = site.serve(gateway, &configuration)?;
        let script = site.directory().join("flood.lua");
        std::fs::write(&script, SCRIPT)?;
        flood(wrk, &script, &server, WARM_UP, "warm")?;
        let (before, asked) = (resident_mib(&server)?, site.keystone.validations());
        let requests_s = flood(wrk, &script, &server, TOKENS, "flood")?;
        println!(
            "  {name:<26} {requests_s:>10.0} {before:>12.1} {:>12.1} {:>16}",
            resident_mib(&server)?,
            site.keystone.validations() - asked
        );
    }
    Ok(())
}

/// Sends at least so many, and tells how many a second.
fn flood(wrk: &Path, script: &Path, server: &Server, tokens: f64, round: &str) -> Result<f64> {
    let (mut requests, mut seconds, mut burst) = (0.0, 0.0, 0);
    while requests < tokens {
        burst += 1;
        let output = process::output(
            Command::new(wrk)
                .args(["-t1", "-c", "32", "-d", "2s", "-s"])
                .arg(script)
                .arg(format!("{}/v1/x", server.url))
                .args(["--", &format!("{round}{burst}")]),
        )?;
        let [sent, duration_us, ..] = figures(&output)?[..] else {
            anyhow::bail!("wrk printed {output:?}");
        };
        requests += sent;
        seconds += duration_us / 1e6;
    }
    Ok(requests / seconds)
}

/// The process's memory, by what the kernel says.
fn resident_mib(server: &Server) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .context("no VmRSS in /proc")?
        .trim()
        .parse()?;
    Ok(kib / 1024.0)
}

/// Tokens in the form of keystone's JWS, with a signature of the right length that no key has made.
const SCRIPT: &str = r#"
local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
-- {"alg":"ES256","typ":"JWT"} and {"sub":"u","exp":4102444800}
local front = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1IiwiZXhwIjo0MTAyNDQ0ODAwfQ."
local count, round = 0, ""

function init(args)
  round = args[1]
  math.randomseed(os.time())
end

function request()
  count = count + 1
  local text = {}
  local number = round .. count
  for i = 1, 85 do
    local at
    if i <= #number then
      at = number:byte(i) % 64 + 1
    else
      at = math.random(64)
    end
    text[i] = letters:sub(at, at)
  end
  return wrk.format("POST", nil, {["X-Auth-Token"] = front .. table.concat(text) .. "A"}, "{}")
end

function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format("figures %d %d %f %f %d", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.connect + errors.read + errors.write + errors.timeout))
end
"#;
