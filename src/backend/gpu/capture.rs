//! What a thread asks of a device: noted while it is done, or gathered to be started later.

use std::cell::RefCell;
use std::sync::Arc;

use super::driver::{Command, Driver};
use super::pool::Pool;

thread_local! {
    static CURRENT: RefCell<Option<Capture>> = const { RefCell::new(None) };
}

/// What a thread has asked of one device since it began to capture it.
pub(crate) struct Capture {
    driver: Arc<dyn Driver>,
    pub(super) pool: Arc<Pool>,
    /// Whether commands are [gathered](super::deferred), and not noted here.
    deferred: bool,
    pub commands: Vec<Command>,
    /// The addresses that tensor maps were made of, whose words say them in a way of the driver's own.
    pub mapped: Vec<u64>,
    /// What cannot be done again without the host.
    pub refused: Option<&'static str>,
}

/// Whether the calling thread captures what it asks of a device.
pub(crate) fn is_on() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Whether the calling thread's commands for a device are gathered.
pub(super) fn defers(driver: &Arc<dyn Driver>) -> bool {
    with(driver, |capture| capture.deferred).unwrap_or(false)
}

/// Does `work`, noting what it asks of the device behind `driver`; memory is the pool's meanwhile. The calling thread
/// must not be capturing already.
pub(super) fn noting<R>(driver: &Arc<dyn Driver>, pool: &Arc<Pool>, work: impl FnOnce() -> R) -> (R, Capture) {
    capturing(driver, pool, false, work)
}

/// Does `work`, whose commands for the device behind `driver` are gathered; memory is the pool's meanwhile. The calling
/// thread must not be capturing already.
pub(super) fn deferring<R>(driver: &Arc<dyn Driver>, pool: &Arc<Pool>, work: impl FnOnce() -> R) -> R {
    capturing(driver, pool, true, work).0
}

fn capturing<R>(driver: &Arc<dyn Driver>, pool: &Arc<Pool>, deferred: bool, work: impl FnOnce() -> R) -> (R, Capture) {
    /// Ends the capture also where `work` panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            CURRENT.take();
        }
    }
    let begin = || {
        let (driver, pool) = (driver.clone(), pool.clone());
        Capture { driver, pool, deferred, commands: Vec::new(), mapped: Vec::new(), refused: None }
    };
    CURRENT.set(Some(begin()));
    let end = End;
    let result = work();
    let capture = CURRENT.take().unwrap_or_else(begin);
    drop(end);
    (result, capture)
}

/// Does `work` as if the thread captured nothing.
pub(super) fn paused<R>(work: impl FnOnce() -> R) -> R {
    /// Goes on also where `work` panics.
    struct GoOn(Option<Capture>);
    impl Drop for GoOn {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let mut go_on = GoOn(CURRENT.take());
    if let Some(capture) = &mut go_on.0 {
        capture.refused = capture.refused.or(Some("a part of it is not captured"));
    }
    let result = work();
    drop(go_on);
    result
}

/// What `act` makes of the capture, if the calling thread captures what it asks of this device.
pub(super) fn with<R>(driver: &Arc<dyn Driver>, act: impl FnOnce(&mut Capture) -> R) -> Option<R> {
    CURRENT.with_borrow_mut(|current| current.as_mut().filter(|capture| Arc::ptr_eq(&capture.driver, driver)).map(act))
}

/// Notes what is done.
pub(super) fn note(driver: &Arc<dyn Driver>, command: impl FnOnce() -> Command) {
    with(driver, |capture| capture.commands.push(command()));
}

/// Notes that something is done which the device cannot do again on its own.
pub(super) fn refuse(driver: &Arc<dyn Driver>, why: &'static str) {
    with(driver, |capture| capture.refused = capture.refused.or(Some(why)));
}
