//! Processes as the kernel accounts for them: processor time and memory, read from `/proc`.

use std::fs;

use crate::failure::Failure;

/// The clock ticks a second of `/proc`, which Linux has fixed for every architecture that it offers to programs.
const TICKS: f64 = 100.0;

/// Returns how many processes of the whole machine want a processor, on average over the last minute.
pub(crate) fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// Returns the processor time of this process so far, in seconds.
pub(crate) fn own_cpu() -> f64 {
    own_and_reaped("self").map_or(f64::NAN, |(own, _)| own)
}

/// Returns the processor time of another process, in seconds.
pub(crate) fn cpu_of(pid: u32) -> f64 {
    own_and_reaped(&pid.to_string()).map_or(f64::NAN, |(own, _)| own)
}

/// Returns the processor time of a server and of all its children, dead or alive, in seconds.
pub(crate) fn family_cpu(pid: u32) -> f64 {
    let Some((own, reaped)) = own_and_reaped(&pid.to_string()) else { return f64::NAN };
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let alive: f64 = children.split_whitespace().filter_map(own_and_reaped).map(|(own, _)| own).sum();
    own + reaped + alive
}

/// Returns the parent of a process.
pub(crate) fn parent_of(pid: u32) -> Result<u32, Failure> {
    let parent = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| field(&stat, 4)?.parse().ok());
    parent.ok_or_else(|| format!("process {pid} cannot be seen: the server must be on this machine").into())
}

/// Makes [`peak_mib`] return the peak since now.
pub(crate) fn forget_peak() {
    // Where the kernel refuses, the peak is that of the whole life of the process: too high, never too low.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Returns the maximum resident memory, in MiB.
pub(crate) fn peak_mib() -> f64 {
    status_mib("self", "VmHWM:")
}

/// Returns the present resident memory, in MiB.
pub(crate) fn resident_mib(pid: u32) -> f64 {
    status_mib(&pid.to_string(), "VmRSS:")
}

fn status_mib(process: &str, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}

/// Returns the seconds that a process has used itself, and those of its children that have ended.
fn own_and_reaped(process: &str) -> Option<(f64, f64)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let ticks = |number| field(&stat, number)?.parse::<f64>().ok();
    Some(((ticks(14)? + ticks(15)?) / TICKS, (ticks(16)? + ticks(17)?) / TICKS))
}

/// Returns a field of `/proc/…/stat` by its number in the manual; the second, the program's name, may contain blanks.
fn field(stat: &str, number: usize) -> Option<&str> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(number.checked_sub(3)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_in_the_name_moves_no_field() {
        let stat = "4711 (post gres) S 42 4711 4711 0 -1 4194560 1 2 3 4 50 60 70 80 20 0 1 0";
        assert_eq!(field(stat, 4), Some("42"));
        assert_eq!(field(stat, 14), Some("50"));
        assert_eq!(field(stat, 17), Some("80"));
    }

    #[test]
    fn this_process_is_seen() {
        assert!(own_cpu() >= 0.0);
        assert!(resident_mib(std::process::id()) > 0.1);
        assert!(parent_of(std::process::id()).is_ok());
    }
}
