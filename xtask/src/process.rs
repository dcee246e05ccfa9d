//! Running other programs, and saying which one failed.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs to the end. What the program says goes to standard error, whichever stream it was said on:
/// our own standard output is for results.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot run {}", name(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs to the end and gives what was written to standard output, without the last line's end.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", name(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed: {}\n{}",
            line(command),
            output.status,
            complaint.trim_end()
        );
    }
    let text = String::from_utf8(output.stdout)
        .with_context(|| format!("what `{}` wrote is not text", line(command)))?;
    Ok(text.trim_end().to_owned())
}

/// Whether the program can be run and succeeds. What it says is of no interest.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn name(command: &Command) -> String {
    command.get_program().display().to_string()
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_repeats_its_complaint() {
        let error = output(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"]));

        assert_eq!(
            error.unwrap_err().to_string(),
            "`sh -c echo no such thing >&2; exit 3` failed: exit status: 3\nno such thing"
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut Command::new("vendordock-no-such-program"));

        assert_eq!(
            error.unwrap_err().to_string(),
            "cannot run vendordock-no-such-program"
        );
    }
}
