//! The stage: tasks of several processes in one thread, time that passes when nobody has anything to do, and a record of it all.
//!
//! Which of the tasks that can go on does is up to the dice, so a seed is one interleaving of all processes. Knows nothing of
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

/// A process; 0 is the world outside, which never dies.
pub(crate) type ProcessId = u32;
type TaskId = u64;
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The first instant of every simulation: that of the year 2026.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_millis(1_767_225_600_000);

pub(crate) struct Stage {
    dice: SeededEntropy,
    ready: Arc<Mutex<Vec<TaskId>>>,
    scene: Mutex<Scene>,
    trace: Mutex<Trace>,
}

struct Scene {
    now: Timestamp,
    timers: BTreeMap<(Timestamp, u64), Waker>,
    tasks: BTreeMap<TaskId, Task>,
    numbers: u64,
    /// Processes that stand still, with those of their tasks that could go on.
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

/// Calls a task onto the stage, once until it has been there.
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

impl Stage {
    pub(crate) fn new(seed: u64, keeps_lines: bool) -> Arc<Self> {
        Arc::new(Stage {
            dice: SeededEntropy::new(seed),
            ready: Arc::default(),
            scene: Mutex::new(Scene {
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

    fn scene(&self) -> MutexGuard<'_, Scene> {
        lock(&self.scene)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.scene().now
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.dice.below(bound)
    }

    /// True once in so many throws.
    pub(crate) fn one_in(&self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn draw(&self) -> u64 {
        self.dice.next_u64()
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len() as u64) as usize)
    }

    /// Puts a task of a process on the stage.
    pub(crate) fn spawn(&self, owner: ProcessId, work: impl Future<Output = ()> + Send + 'static) {
        let call = {
            let mut scene = self.scene();
            scene.numbers += 1;
            let task = scene.numbers;
            let call = Arc::new(Call { task, called: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
            let waker = Waker::from(Arc::clone(&call));
            scene.tasks.insert(task, Task { owner, work: Some(Box::pin(work)), call: Arc::clone(&call), waker });
            call
        };
        call.wake();
    }

    /// Lets one task that can go on do so. False if there is none.
    pub(crate) fn step(&self) -> bool {
        let (task, mut work, waker, owner) = loop {
            let task = {
                let mut ready = lock(&self.ready);
                if ready.is_empty() {
                    return false;
                }
                let place = self.below(ready.len() as u64) as usize;
                ready.swap_remove(place)
            };
            let mut scene = self.scene();
            let Some(found) = scene.tasks.get_mut(&task) else { continue };
            let owner = found.owner;
            if let Some(waiting) = scene.frozen.get_mut(&owner) {
                waiting.push(task);
                continue;
            }
            let Some(found) = scene.tasks.get_mut(&task) else { continue };
            found.call.called.store(false, Ordering::SeqCst);
            let Some(work) = found.work.take() else { continue };
            let waker = found.waker.clone();
            scene.polled = owner;
            break (task, work, waker, owner);
        };
        self.note(format_args!("{task} of {owner}"));
        let ended = work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let doomed = {
            let mut scene = self.scene();
            scene.polled = 0;
            if ended {
                scene.tasks.remove(&task);
            } else if let Some(found) = scene.tasks.get_mut(&task) {
                found.work = Some(work);
            }
            std::mem::take(&mut scene.doomed)
        };
        for process in doomed {
            self.kill(process);
        }
        true
    }

    /// Lets time pass to what is waited for next. False if nothing is.
    pub(crate) fn pass(&self) -> bool {
        let due: Vec<Waker> = {
            let mut scene = self.scene();
            let Some((next, _)) = scene.timers.keys().next().copied() else { return false };
            scene.now = scene.now.max(next);
            let later = scene.timers.split_off(&(next, u64::MAX));
            std::mem::replace(&mut scene.timers, later).into_values().collect()
        };
        due.into_iter().for_each(Waker::wake);
        true
    }

    /// Completes after so much time.
    pub(crate) fn sleep(self: &Arc<Self>, duration: Duration) -> Sleep {
        let deadline = self.now().after(duration);
        Sleep { stage: Arc::clone(self), deadline, timer: None }
    }

    /// Lets others go first.
    pub(crate) fn give_way(&self) -> GiveWay {
        GiveWay(false)
    }

    /// The process whose task is on the stage.
    pub(crate) fn on_stage(&self) -> ProcessId {
        self.scene().polled
    }

    /// The end of a process as soon as its task that is on the stage gives way.
    pub(crate) fn doom(&self, process: ProcessId) {
        if process != 0 {
            self.scene().doomed.insert(process);
        }
    }

    /// Everything that a process does ends here and now.
    pub(crate) fn kill(&self, process: ProcessId) {
        let ended: Vec<Task> = {
            let mut scene = self.scene();
            scene.frozen.remove(&process);
            let ids: Vec<TaskId> =
                scene.tasks.iter().filter(|(_, task)| task.owner == process).map(|(id, _)| *id).collect();
            ids.into_iter().filter_map(|id| scene.tasks.remove(&id)).collect()
        };
        self.note(format_args!("process {process} dies"));
        drop(ended);
    }

    /// A process stands still until it is thawed.
    pub(crate) fn freeze(&self, process: ProcessId) {
        self.scene().frozen.entry(process).or_default();
        self.note(format_args!("process {process} stands still"));
    }

    pub(crate) fn thaw(&self, process: ProcessId) {
        let waiting = self.scene().frozen.remove(&process);
        self.note(format_args!("process {process} goes on"));
        lock(&self.ready).extend(waiting.unwrap_or_default());
    }

    /// Clears the stage.
    pub(crate) fn clear(&self) {
        let ended = std::mem::take(&mut self.scene().tasks);
        drop(ended);
        let timers = std::mem::take(&mut self.scene().timers);
        drop(timers);
    }

    /// Adds to the trace.
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

/// A sleep on the stage.
pub(crate) struct Sleep {
    stage: Arc<Stage>,
    deadline: Timestamp,
    timer: Option<(Timestamp, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let stage = Arc::clone(&self.stage);
        let mut scene = stage.scene();
        if let Some(timer) = self.timer.take() {
            scene.timers.remove(&timer);
        }
        if scene.now >= self.deadline {
            return Poll::Ready(());
        }
        scene.numbers += 1;
        let timer = (self.deadline, scene.numbers);
        scene.timers.insert(timer, context.waker().clone());
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            let waker = self.stage.scene().timers.remove(&timer);
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
