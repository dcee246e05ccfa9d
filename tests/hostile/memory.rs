//! What memory and which processes the gateway has.

use std::time::{Duration, Instant};

use crate::gateway::Gateway;

/// Its resident memory.
pub(super) fn resident_bytes(gateway: &Gateway) -> u64 {
    let path = format!("/proc/{}/smaps_rollup", gateway.process_id());
    let text = std::fs::read_to_string(path).expect("the gateway is running");
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a size")
}

/// The processes that it has started and not waited for.
pub(super) fn children(gateway: &Gateway) -> String {
    let tasks = format!("/proc/{}/task", gateway.process_id());
    let tasks = std::fs::read_dir(tasks).expect("the gateway is running");
    let of_task = |task: std::io::Result<std::fs::DirEntry>| {
        let path = task.expect("a directory can be read to its end").path();
        // A thread may have ended meanwhile.
        std::fs::read_to_string(path.join("children")).unwrap_or_default()
    };
    tasks.map(of_task).collect()
}

/// Waits until no more than this is resident: an allocator gives memory back when it likes. What is resident when it does
/// not come to that.
pub(super) async fn falls_to(gateway: &Gateway, bytes: u64) -> Result<(), u64> {
    let started = Instant::now();
    loop {
        let resident = resident_bytes(gateway);
        if resident <= bytes {
            return Ok(());
        }
        if started.elapsed() > Duration::from_secs(5) {
            return Err(resident);
        }
        tokio::task::yield_now().await;
    }
}
