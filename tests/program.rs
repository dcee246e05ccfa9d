//! The program, and a directory with all that it is given.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;

/// How long a test waits for what should happen at once. Only a failing test waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const PROGRAM: &str = env!("CARGO_BIN_EXE_vendordock");

/// An operator's directory. It has every plugin of this repository, by its name: `echo.wasm`. The program is started
/// in it, so that paths need no more than the name.
pub(crate) struct Directory(TempDir);

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Directory {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is room for a directory");
        let target = Path::new(PROGRAM)
            .ancestors()
            .nth(2)
            .expect("cargo puts programs into target/PROFILE");
        for kind in ["plugins", "test-plugins"] {
            let built = fs::read_dir(target.join(kind)).unwrap_or_else(|error| {
                panic!(
                    "{}: {error}; run `cargo xtask plugins`",
                    target.join(kind).display()
                )
            });
            for plugin in built {
                let plugin = plugin.expect("a directory can be read to its end");
                symlink(plugin.path(), directory.path().join(plugin.file_name()))
                    .expect("no two plugins have the same name");
            }
        }
        Self(directory)
    }

    /// Adds a file.
    pub(crate) fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        fs::write(&path, content).expect("the directory is ours");
        // As a secret's file should be.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        self
    }

    /// Where a file of this name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with(&[], arguments)
    }

    /// The same, with this on its standard input.
    pub(crate) fn run_with_input(&self, input: &str, arguments: &[&str]) -> Finished {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        Finished::from(child.wait_with_output().expect("it is our child"))
    }

    /// The same, with these variables in its environment, and no others.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Finished {
        let output = self
            .command(arguments)
            .envs(variables.iter().copied())
            .output()
            .expect("the program can be started");
        Finished::from(output)
    }

    /// Starts the program, and listens to it.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> (Child, Lines, Lines) {
        Self::listen(self.command(arguments))
    }

    /// Starts the program with these variables in its environment.
    pub(crate) fn spawn_with(
        &self,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> (Child, Lines, Lines) {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        Self::listen(command)
    }

    /// Starts the program where a process may have this much address space only.
    pub(crate) fn spawn_within(&self, kib: u64, arguments: &[&str]) -> (Child, Lines, Lines) {
        let first = format!("ulimit -v {kib}");
        Self::listen(self.command_after(&first, arguments))
    }

    /// Starts the program where no file may be longer: as on a disk that is full.
    pub(crate) fn spawn_with_file_size(
        &self,
        kib: u64,
        arguments: &[&str],
    ) -> (Child, Lines, Lines) {
        // In blocks of 512 bytes. The signal that comes with the error would end the program.
        let first = format!("trap '' XFSZ && ulimit -f {}", 2 * kib);
        Self::listen(self.command_after(&first, arguments))
    }

    /// Starts the program where a process may have this many files open only.
    pub(crate) fn spawn_with_files(&self, most: u32, arguments: &[&str]) -> (Child, Lines, Lines) {
        let first = format!("ulimit -n {most}");
        Self::listen(self.command_after(&first, arguments))
    }

    /// Starts the program as systemd does that holds its sockets: a file that is none by the name `other`, and this one by
    /// the name `nova`.
    pub(crate) fn spawn_activated(
        &self,
        socket: impl Into<OwnedFd>,
        arguments: &[&str],
    ) -> (Child, Lines, Lines) {
        let first = "exec 3</dev/null 4<&0 </dev/null && \
                     export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=other:nova";
        let mut command = self.command_after(first, arguments);
        command.stdin(socket.into());
        Self::listen(command)
    }

    /// Starts the program with a log that nobody reads: what a pipe holds can be written, and no more.
    pub(crate) fn spawn_unread(&self, arguments: &[&str]) -> (Child, Lines, Lines) {
        let first = "mkfifo log && exec 2<>log";
        Self::listen(self.command_after(first, arguments))
    }

    fn listen(mut command: Command) -> (Child, Lines, Lines) {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let stdout = Lines::of(child.stdout.take().expect("it is piped"));
        let stderr = Lines::of(child.stderr.take().expect("it is piped"));
        (child, stdout, stderr)
    }

    /// The program, in a process in which a shell has done this first.
    fn command_after(&self, first: &str, arguments: &[&str]) -> Command {
        let program = self.command(arguments);
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &format!("{first} && exec \"$0\" \"$@\"")])
            .arg(program.get_program())
            .args(program.get_args())
            .current_dir(self.0.path())
            .env_clear()
            .stdin(Stdio::null());
        command
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .current_dir(self.0.path())
            // Nothing that the developer has set for a gateway of his own.
            .env_clear()
            .stdin(Stdio::null());
        command
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// What a program writes, line by line, as it comes.
pub(crate) struct Lines(watch::Receiver<Vec<String>>);

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(Vec::new());
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let line = line.expect("the program writes UTF-8");
                sender.send_modify(|lines| lines.push(line));
            }
        });
        Self(receiver)
    }

    /// The first line that is it, once it is there. None when the program ends without.
    pub(crate) async fn find(&self, is_it: impl Fn(&str) -> bool) -> Option<String> {
        self.find_within(PATIENCE, is_it).await
    }

    /// The same for what may take longer.
    pub(crate) async fn find_within(
        &self,
        patience: Duration,
        is_it: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let mut receiver = self.0.clone();
        let found = |lines: &Vec<String>| lines.iter().find(|line| is_it(line)).cloned();
        let waiting = receiver.wait_for(|lines| found(lines).is_some());
        let Ok(ended_or_found) = tokio::time::timeout(patience, waiting).await else {
            panic!("no such line was written in time:\n{}", self.text());
        };
        found(&*ended_or_found.ok()?)
    }

    /// Waits until the program closes the stream, and so has ended.
    pub(crate) async fn end(&self) {
        if !self.ends().await {
            panic!("the program did not end in time:\n{}", self.text());
        }
    }

    /// The same for a program that may go on: whether it ends in time.
    pub(crate) async fn ends(&self) -> bool {
        let mut receiver = self.0.clone();
        let ending = async { while receiver.changed().await.is_ok() {} };
        tokio::time::timeout(PATIENCE, ending).await.is_ok()
    }

    /// All so far.
    pub(crate) fn text(&self) -> String {
        self.0.borrow().join("\n")
    }
}
