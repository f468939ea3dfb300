//! The worker processes of an episode: each place is taken again when its process is gone.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::worker::{Orders, UNREACHABLE};
use squidmesh_tests::child::ChildProcess;
use squidmesh_tests::ledger::now;

/// How a process ended, if not gracefully.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was killed from outside.
    Killed,
    /// A handler aborted it.
    Aborted,
}

/// The record of the processes.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    /// Which process ended, when, and how.
    pub(crate) ends: Mutex<Vec<(u32, i64, End)>>,
    /// Which process was paused, from when to when.
    pub(crate) pauses: Mutex<Vec<(u32, i64, i64)>>,
    /// The processes that ended unexpectedly.
    pub(crate) strange: Mutex<Vec<String>>,
    started: AtomicU32,
    pub(crate) unreachable: AtomicU32,
}

#[derive(Debug)]
enum Deed {
    Kill,
    Pause(Duration),
    Limit(Option<u64>),
    Stop(oneshot::Sender<()>),
}

/// A place for a process.
#[derive(Debug)]
pub(crate) struct Place {
    deeds: mpsc::Sender<Deed>,
    /// Whether a process is there that can be killed or paused.
    free: Arc<AtomicBool>,
    keeping: JoinHandle<()>,
}

/// All places.
#[derive(Debug)]
pub(crate) struct Workers {
    pub(crate) places: Vec<Place>,
    pub(crate) roll: Arc<Roll>,
}

impl Workers {
    pub(crate) fn start(orders: &[Orders]) -> Self {
        let roll = Arc::new(Roll::default());
        let place = |orders: &Orders| {
            let (deeds, inbox) = mpsc::channel(4);
            let free = Arc::new(AtomicBool::new(false));
            let keeping = tokio::spawn(keep(orders.clone(), inbox, free.clone(), roll.clone()));
            Place { deeds, free, keeping }
        };
        Workers { places: orders.iter().map(place).collect(), roll: roll.clone() }
    }

    /// Kills the process at a place, if there is one.
    pub(crate) async fn kill(&self, place: usize) -> bool {
        self.do_to(place, Deed::Kill).await
    }

    /// Pauses the process at a place for `time`, if there is one.
    pub(crate) async fn pause(&self, place: usize, time: Duration) -> bool {
        self.do_to(place, Deed::Pause(time)).await
    }

    /// Limits the size of files that the process at a place may write; `None` removes the limit.
    pub(crate) async fn limit(&self, place: usize, size: Option<u64>) -> bool {
        self.do_to(place, Deed::Limit(size)).await
    }

    async fn do_to(&self, place: usize, deed: Deed) -> bool {
        let place = &self.places[place % self.places.len()];
        place.free.load(Ordering::SeqCst) && place.deeds.send(deed).await.is_ok()
    }

    /// Stops all processes gracefully, after their current work.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        for place in self.places {
            let (done, ended) = oneshot::channel();
            let _ = place.deeds.send(Deed::Stop(done)).await;
            tokio::time::timeout(Duration::from_secs(90), ended).await.map_err(|_| "a worker does not stop")?.ok();
            place.keeping.abort();
        }
        Ok(())
    }
}

struct Worker {
    process: u32,
    child: ChildProcess,
}

impl Worker {
    async fn start(mut orders: Orders, roll: &Roll) -> Result<Self, Failure> {
        orders.process = roll.started.fetch_add(1, Ordering::SeqCst) + 1;
        let log = File::options().create(true).append(true).open(orders.directory.join("workers.log"))?;
        // The kernel ends it with this process; exceeding its limit of size is an error that does not end it.
        let mut child = ChildProcess::start(
            Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "--", "sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"])
                .arg(std::env::current_exe()?)
                .arg("worker")
                .arg(serde_json::to_string(&orders)?)
                .stderr(log),
        )?;
        let ready = tokio::time::timeout(Duration::from_secs(60), child.next_line()).await;
        if ready.is_ok_and(|line| line.as_deref() == Some("ready")) {
            return Ok(Worker { process: orders.process, child });
        }
        child.start_kill();
        let status = child.wait().await?;
        if status.code() == Some(i32::from(UNREACHABLE)) {
            roll.unreachable.fetch_add(1, Ordering::Relaxed);
            return Err("the database cannot be reached".into());
        }
        Err(format!("process {} did not start: {status}", orders.process).into())
    }

    /// Sends a signal to the process. It is not awaited meanwhile, so the process id is still its own.
    async fn signal(&self, name: &str) {
        if let Some(pid) = self.child.pid() {
            let _ = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().await;
        }
    }
}

async fn keep(orders: Orders, mut inbox: mpsc::Receiver<Deed>, free: Arc<AtomicBool>, roll: Arc<Roll>) {
    let strange = |what: String| roll.strange.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    loop {
        let mut worker = match Worker::start(orders.clone(), &roll).await {
            Ok(worker) => worker,
            Err(error) => {
                if !error.to_string().contains("cannot be reached") {
                    strange(error.to_string());
                }
                if let Ok(Deed::Stop(done)) = inbox.try_recv() {
                    let _ = done.send(());
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        free.store(true, Ordering::SeqCst);
        let mut killed = false;
        let status = loop {
            let deed = tokio::select! {
                status = worker.child.wait() => break status,
                deed = inbox.recv() => deed,
            };
            match deed {
                Some(Deed::Kill) => {
                    killed = true;
                    free.store(false, Ordering::SeqCst);
                    worker.child.start_kill();
                }
                Some(Deed::Pause(time)) => {
                    free.store(false, Ordering::SeqCst);
                    let from = now();
                    worker.signal("STOP").await;
                    tokio::time::sleep(time).await;
                    worker.signal("CONT").await;
                    roll.pauses.lock().unwrap_or_else(PoisonError::into_inner).push((worker.process, from, now()));
                    free.store(true, Ordering::SeqCst);
                }
                Some(Deed::Limit(size)) => {
                    if let Some(pid) = worker.child.pid() {
                        let size = size.map_or("unlimited".to_owned(), |size| size.to_string());
                        let _ = Command::new("prlimit")
                            .args(["--pid", &pid.to_string(), &format!("--fsize={size}:unlimited")])
                            .status()
                            .await;
                    }
                }
                Some(Deed::Stop(done)) => {
                    worker.child.close_input();
                    match tokio::time::timeout(Duration::from_secs(60), worker.child.wait()).await {
                        Ok(Ok(status)) if status.success() => {}
                        ended => strange(format!("process {} was asked to stop: {ended:?}", worker.process)),
                    }
                    let _ = done.send(());
                    return;
                }
                None => return,
            }
        };
        free.store(false, Ordering::SeqCst);
        let end = {
            use std::os::unix::process::ExitStatusExt;
            match status.as_ref().ok().and_then(ExitStatusExt::signal) {
                Some(9) if killed => Some(End::Killed),
                Some(6) => Some(End::Aborted),
                _ => None,
            }
        };
        match end {
            Some(end) => roll.ends.lock().unwrap_or_else(PoisonError::into_inner).push((worker.process, now(), end)),
            None => strange(format!("process {} ended by itself: {status:?}", worker.process)),
        }
    }
}
