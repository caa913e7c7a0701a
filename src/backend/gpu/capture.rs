//! What a thread asks of a device: noted while it is done, or gathered to be started later.

use std::cell::RefCell;
use std::sync::Arc;

use super::deferred::Starter;
use super::driver::{Command, Driver};
use super::pool::Pool;
use crate::error::Result;

thread_local! {
    static CURRENT: RefCell<Option<Capture>> = const { RefCell::new(None) };
}

/// What a thread has asked of one device since it began to capture it.
pub(crate) struct Capture {
    driver: Arc<dyn Driver>,
    pub(super) pool: Arc<Pool>,
    pub commands: Vec<Command>,
    /// The addresses that tensor maps were made of, whose words say them in a way of the driver's own.
    pub mapped: Vec<u64>,
    /// What cannot be done again without the host.
    pub refused: Option<&'static str>,
    /// What starts the commands, if they are not started as they are asked for.
    starter: Option<Starter>,
}

/// Bytes of an upload that are kept until the commands around it are started; more are uploaded at once.
const MOST_KEPT: usize = 1 << 16;

/// Whether the calling thread captures what it asks of a device.
pub(crate) fn is_on() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Does `work`, noting what it asks of the device behind `driver`; memory is the pool's meanwhile. The calling thread
/// must not be capturing already.
pub(super) fn noting<R>(driver: &Arc<dyn Driver>, pool: &Arc<Pool>, work: impl FnOnce() -> R) -> (R, Capture) {
    capturing(driver, pool, None, work)
}

/// Does `work`, gathering what it asks of the device behind `driver` for `starter`; memory is the pool's meanwhile. The
/// calling thread must not be capturing already.
pub(super) fn deferring<R>(
    driver: &Arc<dyn Driver>,
    pool: &Arc<Pool>,
    starter: Starter,
    work: impl FnOnce() -> Result<R>,
) -> (Result<R>, Option<Starter>) {
    let (result, capture) = capturing(driver, pool, Some(starter), || {
        let worked = work();
        // Also after an error: what was asked for until then is done.
        let started = start(driver);
        worked.and_then(|result| started.map(|()| result))
    });
    (result, capture.starter)
}

fn capturing<R>(
    driver: &Arc<dyn Driver>,
    pool: &Arc<Pool>,
    starter: Option<Starter>,
    work: impl FnOnce() -> R,
) -> (R, Capture) {
    /// Ends the capture also where `work` panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            CURRENT.take();
        }
    }
    let begin = |starter| {
        let (driver, pool) = (driver.clone(), pool.clone());
        Capture { driver, pool, commands: Vec::new(), mapped: Vec::new(), refused: None, starter }
    };
    CURRENT.set(Some(begin(starter)));
    let end = End;
    let result = work();
    let capture = CURRENT.take().unwrap_or_else(|| begin(None));
    drop(end);
    (result, capture)
}

/// Does `work` as if the thread captured nothing, after it has started what was gathered.
pub(crate) fn paused<R>(driver: &Arc<dyn Driver>, work: impl FnOnce() -> R) -> Result<R> {
    /// Goes on also where `work` panics.
    struct GoOn(Option<Capture>);
    impl Drop for GoOn {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    start(driver)?;
    let go_on = GoOn(CURRENT.take());
    let result = work();
    drop(go_on);
    Ok(result)
}

/// What `act` makes of the capture, if the calling thread captures what it asks of this device.
pub(super) fn with<R>(driver: &Arc<dyn Driver>, act: impl FnOnce(&mut Capture) -> R) -> Option<R> {
    CURRENT.with_borrow_mut(|current| current.as_mut().filter(|capture| Arc::ptr_eq(&capture.driver, driver)).map(act))
}

/// Whether the calling thread's commands wait until they are [started](start).
pub(super) fn defers(driver: &Arc<dyn Driver>) -> bool {
    with(driver, |capture| capture.starter.is_some()).unwrap_or(false)
}

/// Has the command done by `now`, or later.
pub(super) fn ask(
    driver: &Arc<dyn Driver>,
    command: impl FnOnce() -> Command,
    now: impl FnOnce(&dyn Driver) -> Result<()>,
) -> Result<()> {
    let deferred = with(driver, |capture| {
        capture.commands.push(command());
        capture.starter.is_some()
    });
    match deferred {
        Some(true) => Ok(()),
        _ => now(&**driver),
    }
}

/// Has bytes uploaded, or does so later.
pub(super) fn ask_to_upload(driver: &Arc<dyn Driver>, to: u64, from: &[u8]) -> Result<()> {
    if from.len() > MOST_KEPT && defers(driver) {
        start(driver)?;
        return driver.upload(to, from);
    }
    ask(driver, || Command::Upload { to, from: from.into() }, |driver| driver.upload(to, from))
}

/// Is called before something is done that a device cannot do again on its own, and before which it must have done all
/// that it was asked.
pub(super) fn before(driver: &Arc<dyn Driver>, why: &'static str) -> Result<()> {
    with(driver, |capture| capture.refused = capture.refused.or(Some(why)));
    start(driver)
}

/// Starts what the calling thread has gathered for this device.
pub(super) fn start(driver: &Arc<dyn Driver>) -> Result<()> {
    let take = |capture: &mut Capture| Some((std::mem::take(&mut capture.commands), capture.starter.take()?));
    let Some((commands, mut starter)) = with(driver, take).flatten() else { return Ok(()) };
    let started = starter.start(commands);
    with(driver, |capture| capture.starter = Some(starter));
    started
}
