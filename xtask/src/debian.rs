//! Installs a server's package on Debian and its derivatives; elsewhere prints what a person has to install.

use std::process::Command;

use crate::failure::{Failure, Outcome};
use crate::process;

/// Installs `package`, which contains `software`. Needs apt-get, and root or a sudo without password.
pub(crate) fn install(software: &str, package: &str) -> Outcome {
    let advice = format!("install the {software} server (Debian's package `{package}`) and try again");
    if process::on_path("apt-get").is_none() {
        return Err(Failure::new(format!("{software} is missing and there is no apt-get here: {advice}")));
    }
    let is_root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
    let mut command = if is_root {
        Command::new("sh")
    } else if process::succeeds(Command::new("sudo").args(["-n", "true"])) {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    } else {
        return Err(Failure::new(format!(
            "{software} is missing and this user may not install it (neither root nor passwordless sudo): {advice}"
        )));
    };
    println!("{software} is missing: installing Debian's package `{package}` with apt-get");
    command.args(["-c", include_str!("debian-install.sh"), "install", package]).stdin(std::process::Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(format!("apt-get could not install `{package}` ({status}): {advice}"))),
        Err(error) => Err(Failure::new(format!("the installation of `{package}` did not start ({error}): {advice}"))),
    }
}
