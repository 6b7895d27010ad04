//! Ends a server when the process that started it is gone, however it went: even one that was
//! killed leaves no server behind.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// Reads from a pipe that nobody writes to, so that it waits until the other end is closed, which
/// the system does for a process that dies.
const SCRIPT: &str = r#"read -r _; kill -QUIT "$0""#;

/// Watches over one process for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Begins to watch over `pid`.
    pub(crate) fn over(pid: u32) -> io::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .arg(pid.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What ends us, such as a Ctrl-C in the terminal, must not end the watchdog.
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Killed before its pipe is closed, so that it does nothing. Either fails only if it is gone.
        self.shell.kill().ok();
        self.shell.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_process_ends_with_whoever_held_its_watchdog() {
        // Whoever runs tests in the background may have them ignore the signal; a server never does.
        let sleep = ["--default-signal=QUIT", "sleep", "60"];
        let mut watched = Command::new("env").args(sleep).spawn().unwrap();
        let mut watchdog = Watchdog::over(watched.id()).unwrap();
        // What the system does to the pipes of a killed process.
        drop(watchdog.shell.stdin.take());
        let quit = rustix::process::Signal::QUIT.as_raw();
        assert_eq!(watched.wait().unwrap().signal(), Some(quit));
    }

    #[test]
    fn a_watchdog_that_is_called_off_harms_nobody() {
        let mut watched = Command::new("sleep").arg("60").spawn().unwrap();
        drop(Watchdog::over(watched.id()).unwrap());
        assert!(watched.try_wait().unwrap().is_none());
        watched.kill().unwrap();
        watched.wait().unwrap();
    }
}
