//! A service that is as hostile as the plugin that asks it.

use std::io::{Read as _, Result, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

/// Between two bytes of `/drip`.
const DRIP: Duration = Duration::from_millis(20);

/// Starts it, until the test's process ends. Returns its origin.
///
/// `/drip` answers a byte at a time, `/gibibyte` as much as its name says, and `/redirect` sends everybody to the metadata
/// service.
pub(super) fn start() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the kernel has a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever has had enough hangs up, and that ends it.
            std::thread::spawn(move || answer(stream));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream) -> Result<()> {
    let mut request = [0; 1024];
    let length = stream.read(&mut request)?;
    if request[..length].starts_with(b"GET /redirect ") {
        let location = "http://169.254.169.254/latest/meta-data";
        return write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    // How long the answer is, it does not say.
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
    if request[..length].starts_with(b"GET /drip ") {
        loop {
            stream.write_all(b"x")?;
            std::thread::sleep(DRIP);
        }
    }
    let block = vec![b'x'; 1 << 20];
    for _ in 0..1024 {
        stream.write_all(&block)?;
    }
    Ok(())
}
