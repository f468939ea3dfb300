//! The scheduler: tasks of several processes in one thread, time that passes when no task is ready, and a trace of
//! everything.
//!
//! The seed decides which ready task is polled next, so a seed is one interleaving of all processes. Knows nothing of
//! what the tasks do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use squidmesh_core::Timestamp;
use squidmesh_core::testing::SeededEntropy;

/// A process; 0 is the outside world, which never dies.
pub(crate) type ProcessId = u32;
/// The offset from the number of a process to that of its heartbeat thread, which lives and dies with it.
const BEATS: ProcessId = 1 << 20;
type TaskId = u64;
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The first instant of every simulation: the first of the year 2026.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_millis(1_767_225_600_000);

pub(crate) struct Scheduler {
    rng: SeededEntropy,
    ready: Arc<Mutex<Vec<TaskId>>>,
    state: Mutex<State>,
    trace: Mutex<Trace>,
}

struct State {
    now: Timestamp,
    timers: BTreeMap<(Timestamp, u64), Waker>,
    tasks: BTreeMap<TaskId, Task>,
    numbers: u64,
    /// Frozen processes, with those of their tasks that are ready.
    frozen: BTreeMap<ProcessId, Vec<TaskId>>,
    doomed: BTreeSet<ProcessId>,
    polled: ProcessId,
}

struct Task {
    owner: ProcessId,
    work: Option<Work>,
    call: Arc<Call>,
    waker: Waker,
}

/// Makes a task ready, at most once until it is polled.
struct Call {
    task: TaskId,
    called: AtomicBool,
    ready: Arc<Mutex<Vec<TaskId>>>,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        if !self.called.swap(true, Ordering::SeqCst) {
            lock(&self.ready).push(self.task);
        }
    }
}

struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl fmt::Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scheduler {
    pub(crate) fn new(seed: u64, keeps_lines: bool) -> Arc<Self> {
        Arc::new(Scheduler {
            rng: SeededEntropy::new(seed),
            ready: Arc::default(),
            state: Mutex::new(State {
                now: BEGINNING,
                timers: BTreeMap::new(),
                tasks: BTreeMap::new(),
                numbers: 0,
                frozen: BTreeMap::new(),
                doomed: BTreeSet::new(),
                polled: 0,
            }),
            trace: Mutex::new(Trace { hash: 0xcbf2_9ce4_8422_2325, lines: keeps_lines.then(Vec::new) }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.state().now
    }

    /// Returns a number below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    /// Returns true once in `count` calls, on average.
    pub(crate) fn one_in(&self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn draw(&self) -> u64 {
        self.rng.next_u64()
    }

    /// Returns a random item of a list, or `None` if it is empty.
    pub(crate) fn pick<'a, T>(&self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len() as u64) as usize)
    }

    /// Spawns a task of a process.
    pub(crate) fn spawn(&self, owner: ProcessId, work: impl Future<Output = ()> + Send + 'static) {
        let call = {
            let mut state = self.state();
            state.numbers += 1;
            let task = state.numbers;
            let call = Arc::new(Call { task, called: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
            let waker = Waker::from(Arc::clone(&call));
            state.tasks.insert(task, Task { owner, work: Some(Box::pin(work)), call: Arc::clone(&call), waker });
            call
        };
        call.wake();
    }

    /// Polls one ready task. Returns false if there is none.
    pub(crate) fn step(&self) -> bool {
        let (task, mut work, waker, owner) = loop {
            let task = {
                let mut ready = lock(&self.ready);
                if ready.is_empty() {
                    return false;
                }
                let index = self.below(ready.len() as u64) as usize;
                ready.swap_remove(index)
            };
            let mut state = self.state();
            let Some(found) = state.tasks.get_mut(&task) else { continue };
            let owner = found.owner;
            if let Some(waiting) = state.frozen.get_mut(&owner) {
                waiting.push(task);
                continue;
            }
            let Some(found) = state.tasks.get_mut(&task) else { continue };
            found.call.called.store(false, Ordering::SeqCst);
            let Some(work) = found.work.take() else { continue };
            let waker = found.waker.clone();
            state.polled = owner % BEATS;
            break (task, work, waker, owner % BEATS);
        };
        self.note(format_args!("{task} of {owner}"));
        let ended = work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let doomed = {
            let mut state = self.state();
            state.polled = 0;
            if ended {
                state.tasks.remove(&task);
            } else if let Some(found) = state.tasks.get_mut(&task) {
                found.work = Some(work);
            }
            std::mem::take(&mut state.doomed)
        };
        for process in doomed {
            self.kill(process);
        }
        true
    }

    /// Advances time to the next timer. Returns false if there is none.
    pub(crate) fn pass(&self) -> bool {
        let due: Vec<Waker> = {
            let mut state = self.state();
            let Some((next, _)) = state.timers.keys().next().copied() else { return false };
            state.now = state.now.max(next);
            let later = state.timers.split_off(&(next, u64::MAX));
            std::mem::replace(&mut state.timers, later).into_values().collect()
        };
        due.into_iter().for_each(Waker::wake);
        true
    }

    /// Completes after `duration`.
    pub(crate) fn sleep(self: &Arc<Self>, duration: Duration) -> Sleep {
        let deadline = self.now().after(duration);
        Sleep { scheduler: Arc::clone(self), deadline, timer: None }
    }

    /// Yields to other tasks once.
    pub(crate) fn give_way(&self) -> GiveWay {
        GiveWay(false)
    }

    /// Returns the process whose task is being polled.
    pub(crate) fn current_process(&self) -> ProcessId {
        self.state().polled
    }

    /// Kills a process as soon as its current task yields.
    pub(crate) fn doom(&self, process: ProcessId) {
        if process != 0 {
            self.state().doomed.insert(process);
        }
    }

    /// Ends everything that a process does, at once.
    pub(crate) fn kill(&self, process: ProcessId) {
        let ended: Vec<Task> = {
            let mut state = self.state();
            state.frozen.remove(&process);
            state.frozen.remove(&(process + BEATS));
            let of_process = state.tasks.iter().filter(|(_, task)| task.owner % BEATS == process);
            let ids: Vec<TaskId> = of_process.map(|(id, _)| *id).collect();
            ids.into_iter().filter_map(|id| state.tasks.remove(&id)).collect()
        };
        self.note(format_args!("process {process} dies"));
        drop(ended);
    }

    /// Spawns the heartbeats of a process.
    pub(crate) fn spawn_beats(&self, owner: ProcessId, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn(owner + BEATS, work);
    }

    /// Blocks all threads of a process but that of its heartbeats, as its handlers might, until it is thawed.
    pub(crate) fn block(&self, process: ProcessId) {
        self.state().frozen.entry(process).or_default();
        self.note(format_args!("process {process} is blocked"));
    }

    /// Freezes a process until it is thawed.
    pub(crate) fn freeze(&self, process: ProcessId) {
        let mut state = self.state();
        state.frozen.entry(process).or_default();
        state.frozen.entry(process + BEATS).or_default();
        drop(state);
        self.note(format_args!("process {process} stands still"));
    }

    pub(crate) fn thaw(&self, process: ProcessId) {
        let mut state = self.state();
        let waiting = [process, process + BEATS].map(|owner| state.frozen.remove(&owner).unwrap_or_default());
        drop(state);
        self.note(format_args!("process {process} continues"));
        lock(&self.ready).extend(waiting.concat());
    }

    /// Drops all tasks and timers.
    pub(crate) fn clear(&self) {
        let ended = std::mem::take(&mut self.state().tasks);
        drop(ended);
        let timers = std::mem::take(&mut self.state().timers);
        drop(timers);
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        let now = self.now().as_millis() - BEGINNING.as_millis();
        let mut trace = lock(&self.trace);
        let _ = writeln!(trace, "{now} {what}");
        if let Some(lines) = &mut trace.lines {
            lines.push(format!("{:>12.3} s  {what}", now as f64 / 1_000.0));
        }
    }

    pub(crate) fn trace(&self) -> (u64, Vec<String>) {
        let mut trace = lock(&self.trace);
        (trace.hash, trace.lines.take().unwrap_or_default())
    }
}

/// A sleep in virtual time.
pub(crate) struct Sleep {
    scheduler: Arc<Scheduler>,
    deadline: Timestamp,
    timer: Option<(Timestamp, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let scheduler = Arc::clone(&self.scheduler);
        let mut state = scheduler.state();
        if let Some(timer) = self.timer.take() {
            state.timers.remove(&timer);
        }
        if state.now >= self.deadline {
            return Poll::Ready(());
        }
        state.numbers += 1;
        let timer = (self.deadline, state.numbers);
        state.timers.insert(timer, context.waker().clone());
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            let waker = self.scheduler.state().timers.remove(&timer);
            drop(waker);
        }
    }
}

pub(crate) struct GiveWay(bool);

impl Future for GiveWay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
