//! Limits the cost of an input: an input of a kibibyte must cause at most linear work, in time and in memory.
//!
//! Time is processor time, which does not grow when the machine is busy.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The limit on processor time for one input, in a build without optimisation and with coverage. Work that doubles
/// with each level would take hours.
const TIME: Duration = Duration::from_secs(2);
/// How much one input may raise the peak of memory, in kibibytes.
const MEMORY: u64 = 256 << 10;
/// Inputs that take less time cannot have filled memory.
const WORTH_A_LOOK: Duration = Duration::from_millis(20);

static PEAK: AtomicU64 = AtomicU64::new(0);

/// Runs `work`, and panics if it exceeds a limit.
pub(crate) fn keep(work: impl FnOnce()) {
    if PEAK.load(Ordering::Relaxed) == 0 {
        PEAK.store(peak(), Ordering::Relaxed);
    }
    let begun = spent();
    work();
    let took = spent().saturating_sub(begun);
    assert!(took < TIME, "one input took {took:?} of processor time");
    if took >= WORTH_A_LOOK {
        let now = peak();
        let before = PEAK.swap(now, Ordering::Relaxed);
        assert!(now < before + MEMORY, "one input raised the peak of memory from {before} to {now} KiB");
    }
}

/// Returns the processor time of this thread; zero where the system does not report it.
fn spent() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// Returns the peak memory of this process, in kibibytes.
fn peak() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[test]
#[should_panic(expected = "raised the peak of memory")]
fn memory_is_bounded() {
    let mut held = Vec::new();
    keep(|| {
        held = vec![1_u8; 400 << 20];
        // Long enough for memory to be checked.
        let begun = spent();
        while spent() < begun + WORTH_A_LOOK {
            held.iter_mut().step_by(4_096).for_each(|byte| *byte = byte.wrapping_add(1));
        }
    });
    drop(held);
}

#[test]
#[should_panic(expected = "of processor time")]
fn time_is_bounded() {
    keep(|| {
        let begun = spent();
        while spent() < begun + TIME {}
    });
}
