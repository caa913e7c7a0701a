//! Noting what a thread asks of a device, while it is done.

use std::cell::RefCell;
use std::sync::Arc;

use super::driver::{Command, Driver};
use super::pool::Pool;

thread_local! {
    static CURRENT: RefCell<Option<Capture>> = const { RefCell::new(None) };
}

/// What a thread has asked of one device since it began to note it.
pub(crate) struct Capture {
    driver: Arc<dyn Driver>,
    pub(super) pool: Arc<Pool>,
    pub commands: Vec<Command>,
    /// The addresses that tensor maps were made of, whose words say them in a way of the driver's own.
    pub mapped: Vec<u64>,
    /// What cannot be done again without the host.
    pub refused: Option<&'static str>,
}

/// Whether the calling thread notes what it asks of a device.
pub(crate) fn is_on() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Does `work`, noting what it asks of the device behind `driver`; memory is the pool's meanwhile. The calling thread
/// must not be noting already.
pub(crate) fn capture<R>(driver: &Arc<dyn Driver>, pool: &Arc<Pool>, work: impl FnOnce() -> R) -> (R, Capture) {
    /// Ends the noting also where `work` panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            CURRENT.take();
        }
    }
    let begin = || {
        let (driver, pool) = (driver.clone(), pool.clone());
        Capture { driver, pool, commands: Vec::new(), mapped: Vec::new(), refused: None }
    };
    CURRENT.set(Some(begin()));
    let end = End;
    let result = work();
    let capture = CURRENT.take().unwrap_or_else(begin);
    drop(end);
    (result, capture)
}

/// What `act` makes of the noting, if the calling thread notes what it asks of this device.
pub(super) fn with<R>(driver: &Arc<dyn Driver>, act: impl FnOnce(&mut Capture) -> R) -> Option<R> {
    CURRENT.with_borrow_mut(|current| current.as_mut().filter(|capture| Arc::ptr_eq(&capture.driver, driver)).map(act))
}

/// Notes what was done.
pub(super) fn note(driver: &Arc<dyn Driver>, command: impl FnOnce() -> Command) {
    with(driver, |capture| capture.commands.push(command()));
}

/// Notes that something was done which the device cannot do again on its own.
pub(super) fn refuse(driver: &Arc<dyn Driver>, why: &'static str) {
    with(driver, |capture| capture.refused = capture.refused.or(Some(why)));
}
