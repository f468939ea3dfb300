//! Guards a throw-away server: however this process ends, the server is stopped and its directory removed.
//!
//! A small shell process (`guardian.sh`) in a session of its own does this: it waits until the pipe that this
//! process holds is closed. The kernel closes the pipe however this process ends, so no signal has to be caught
//! and no case can be forgotten. If the guardian itself is killed, the server dies with it
//! (`setpriv --pdeathsig`).

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome, While};
use crate::process;

/// How long a server may take to answer; a loaded machine with a slow disk needs some seconds.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// A running server and its directory. Both are removed on drop.
pub(crate) struct Guarded {
    guardian: Child,
    lifeline: Option<ChildStdin>,
    directory: PathBuf,
}

/// The server to start.
pub(crate) struct Server<'a> {
    /// Names the server in messages and in its directory.
    pub(crate) name: &'static str,
    /// A `sh` script that ends in `exec <server>`; it gets the directory as `$0` and `arguments` as `$1`, `$2`, ...
    pub(crate) script: &'static str,
    pub(crate) arguments: &'a [&'a str],
    /// The signal on which the server stops at once.
    pub(crate) stop_signal: &'static str,
    /// The system user to run it as when this process is root; `nobody` when that user does not exist.
    pub(crate) user: &'static str,
    /// Returns whether this server is ready, and not another one on the same port, given its directory.
    pub(crate) ready: fn(&Path) -> bool,
}

impl Guarded {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start(server: &Server<'_>) -> Result<Self, Failure> {
        for needed in ["bash", "setsid", "setpriv"] {
            if process::on_path(needed).is_none() {
                return Err(Failure::new(format!(
                    "`{needed}` is needed to run throw-away servers: install Debian's packages bash and util-linux"
                )));
            }
        }
        let directory = fresh_directory(server.name)?;
        let mut command = Command::new("setsid");
        command.args(["bash", "-c", include_str!("guardian.sh"), "guardian"]).arg(&directory).arg(server.stop_signal);
        command.args(["setpriv", "--pdeathsig", "KILL"]);
        if let Some(account) = account_for(server.user)? {
            chown(&directory, Some(account.uid), Some(account.gid)).while_doing(format!(
                "give {} to user {}",
                directory.display(),
                account.name
            ))?;
            command.arg(format!("--reuid={}", account.uid)).arg(format!("--regid={}", account.gid));
            command.arg("--clear-groups");
        }
        command.args(["--", "sh", "-c", server.script]).arg(&directory).args(server.arguments);
        for (name, _) in std::env::vars_os() {
            // Settings for a server that is not this one.
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        let mut guardian = command
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .while_doing("start the guardian of a server")?;
        let lifeline = guardian.stdin.take();
        let mut guarded = Self { guardian, lifeline, directory };
        guarded.wait_until_ready(server)?;
        Ok(guarded)
    }

    fn has_ended(&mut self) -> Result<bool, Failure> {
        Ok(self.guardian.try_wait().while_doing("look at a server")?.is_some())
    }

    fn wait_until_ready(&mut self, server: &Server<'_>) -> Outcome {
        let begun = Instant::now();
        while !(server.ready)(&self.directory) {
            if let Some(status) = self.guardian.try_wait().while_doing("look at a server")? {
                return Err(Failure::new(format!("{} did not start ({status})", server.name)));
            }
            if begun.elapsed() > READY_WITHIN {
                return Err(Failure::new(format!("{} was not ready within {READY_WITHIN:?}", server.name)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        if let Err(error) = self.guardian.wait() {
            eprintln!("could not wait for a server to stop: {error}");
        }
        if self.directory.exists() && fs::remove_dir_all(&self.directory).is_err() {
            eprintln!("could not remove {}", self.directory.display());
        }
    }
}

/// Blocks until one of the servers ends, which is an error.
pub(crate) fn wait_for_the_end_of_any<const N: usize>(mut servers: [&mut Guarded; N]) -> Outcome {
    loop {
        for server in &mut servers {
            if server.has_ended()? {
                return Err(Failure::new("a server ended by itself"));
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Returns a port of the loopback interface that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).while_doing("find a free port")?;
    Ok(listener.local_addr().while_doing("find a free port")?.port())
}

/// Starts a server on a free port, and again on another one if the first was taken meanwhile.
pub(crate) fn on_a_free_port(start: impl Fn(u16) -> Result<Guarded, Failure>) -> Result<(Guarded, u16), Failure> {
    let mut last = None;
    for _ in 0..3 {
        let port = free_port()?;
        match start(port) {
            Ok(guarded) => return Ok((guarded, port)),
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap_or_else(|| Failure::new("no server was tried")))
}

/// Creates a directory on a disk: `/tmp` is memory on many machines, and an fsync must have its real cost.
fn fresh_directory(name: &str) -> Result<PathBuf, Failure> {
    let base = Path::new("/var/tmp");
    let base = if base.is_dir() { base.to_owned() } else { std::env::temp_dir() };
    let id = std::process::id();
    for number in 0..1_000_u32 {
        let directory = base.join(format!("squidmesh-{name}-{id}-{number}"));
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).while_doing(format!("make {}", directory.display())),
        }
    }
    Err(Failure::new(format!("{} is full of squidmesh-{name}-{id}-* directories: remove them", base.display())))
}

#[derive(Debug, PartialEq)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

/// Returns the account under which a server runs: `None` (the current one) unless this process is root, which
/// Postgres refuses.
fn account_for(user: &str) -> Result<Option<Account>, Failure> {
    let id = process::output(Command::new("id").arg("-u"))?;
    if id.trim() != "0" {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").while_doing("read /etc/passwd")?;
    match account(&accounts, user).or_else(|| account(&accounts, "nobody")) {
        Some(account) => Ok(Some(account)),
        None => {
            Err(Failure::new(format!("/etc/passwd has neither user {user} nor nobody: servers do not run as root")))
        }
    }
}

fn account(passwd: &str, user: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| *name == user)?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { name: name.to_owned(), uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLEEPER: Server<'_> = Server {
        name: "sleeper",
        script: "echo up; exec sleep 600",
        arguments: &[],
        stop_signal: "TERM",
        user: "nobody",
        ready: |directory| fs::read_to_string(directory.join("log")).is_ok_and(|log| log.contains("up")),
    };

    fn directories_of(pid: u32, name: &str) -> usize {
        let mine = format!("squidmesh-{name}-{pid}-");
        let entries = fs::read_dir("/var/tmp").unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(&mine)).count()
    }

    #[test]
    fn a_dropped_server_leaves_no_directory() {
        let guarded = Guarded::start(&SLEEPER).unwrap();
        assert_eq!(directories_of(std::process::id(), "sleeper"), 1);
        drop(guarded);
        assert_eq!(directories_of(std::process::id(), "sleeper"), 0);
    }

    #[test]
    fn a_server_that_ends_at_once_is_a_failure() {
        let broken = Server { name: "broken", script: "exit 3", ready: |_| false, ..SLEEPER };
        let said = Guarded::start(&broken).err().unwrap().to_string();
        assert!(said.contains("broken did not start"), "{said}");
        assert_eq!(directories_of(std::process::id(), "broken"), 0);
    }

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(account(passwd, "postgres"), Some(Account { name: "postgres".to_owned(), uid: 101, gid: 104 }));
        assert_eq!(account(passwd, "post"), None);
    }
}
