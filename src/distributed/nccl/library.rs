//! The functions of NCCL that are used, from a library that is loaded when ranks on GPUs first meet.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

/// The first version whose calls do not block, so that a rank that is lost ends them.
const OLDEST: c_int = 2_14_00;

/// What NCCL calls the ranks that have met.
pub type Communicator = *mut c_void;
/// A stream of the CUDA driver.
pub type Stream = *mut c_void;

/// By which ranks find each other: the first one's, told to all.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct UniqueId([u8; 128]);

/// `ncclConfig_t` as it was in the oldest version; later ones take it by its size and version.
#[repr(C)]
struct Config {
    size: usize,
    magic: c_uint,
    version: c_uint,
    blocking: c_int,
}

impl Config {
    const MAGIC: c_uint = 0xcafe_beef;

    /// Calls come back at once and are asked after.
    fn without_blocking() -> Self {
        Config { size: size_of::<Config>(), magic: Self::MAGIC, version: OLDEST as c_uint, blocking: 0 }
    }
}

/// `ncclFloat32`.
const FLOAT32: c_int = 7;

/// What a call came to, as NCCL counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome(c_int);

impl Outcome {
    /// It is done.
    pub const SUCCESS: Outcome = Outcome(0);
    /// It is under way.
    pub const IN_PROGRESS: Outcome = Outcome(7);

    /// Whether it may come of another rank that is lost: a remote process that is gone, or the system.
    pub fn may_be_of_others(self) -> bool {
        self == Outcome(6) || self == Outcome(2)
    }

    /// Whether nothing has failed, be it done or under way.
    pub fn is_well(self) -> bool {
        self == Self::SUCCESS || self == Self::IN_PROGRESS
    }
}

macro_rules! functions {
    ($($field:ident = $symbol:literal: fn($($argument:ty),*) -> $result:ty;)*) => {
        /// NCCL, loaded.
        pub struct Library {
            name: String,
            version: c_int,
            $($field: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Library {
            /// Errors on the first function that is not there, in words.
            fn resolve(name: String, library: &'static libloading::Library) -> Result<Self, String> {
                $(
                    // SAFETY: the type is that of NCCL's header for this symbol, the same in all versions since the
                    // oldest one that is used; the library is never unloaded.
                    let $field = *unsafe { library.get::<unsafe extern "C" fn($($argument),*) -> $result>($symbol) }
                        .map_err(|e| format!("{name} is no NCCL, or older than 2.14: {e}"))?;
                )*
                Ok(Library { name, version: 0, $($field,)* })
            }
        }
    };
}

functions! {
    get_version = b"ncclGetVersion": fn(*mut c_int) -> c_int;
    get_unique_id = b"ncclGetUniqueId": fn(*mut UniqueId) -> c_int;
    init_rank = b"ncclCommInitRankConfig": fn(*mut Communicator, c_int, UniqueId, c_int, *mut Config) -> c_int;
    async_error = b"ncclCommGetAsyncError": fn(Communicator, *mut c_int) -> c_int;
    finalize = b"ncclCommFinalize": fn(Communicator) -> c_int;
    abort = b"ncclCommAbort": fn(Communicator) -> c_int;
    group_start = b"ncclGroupStart": fn() -> c_int;
    group_end = b"ncclGroupEnd": fn() -> c_int;
    send = b"ncclSend": fn(*const c_void, usize, c_int, c_int, Communicator, Stream) -> c_int;
    receive = b"ncclRecv": fn(*mut c_void, usize, c_int, c_int, Communicator, Stream) -> c_int;
    error_string = b"ncclGetErrorString": fn(c_int) -> *const c_char;
}

/// What a transfer has at this end: `count` numbers of f32 at a device address, for or from a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The other rank, which may be this one.
    pub rank: usize,
    /// Where the numbers are, or go to.
    pub address: u64,
    /// How many.
    pub count: usize,
}

impl Library {
    /// The library, loaded once for the process: the one that `named` says, else where the system looks for libraries.
    /// Errors in words: not there, or too old.
    pub fn loaded(named: Option<&OsStr>) -> Result<&'static Library, String> {
        static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
        LOADED.get_or_init(|| Self::load(named)).as_ref().map_err(String::clone)
    }

    fn load(named: Option<&OsStr>) -> Result<Self, String> {
        let names: Vec<OsString> = match named {
            Some(name) => vec![name.into()],
            None => ["libnccl.so.2", "libnccl.so"].map(OsString::from).to_vec(),
        };
        let mut why = String::new();
        for name in &names {
            // SAFETY: loads NCCL, whose initialisers are trusted; a file that somebody names is their own trust.
            match unsafe { libloading::Library::new(name) } {
                Ok(library) => {
                    let name = name.to_string_lossy().into_owned();
                    return Self::resolve(name, Box::leak(Box::new(library)))?.checked();
                }
                Err(error) if why.is_empty() => why = error.to_string(),
                Err(_) => {}
            }
        }
        Err(format!(
            "{why}; install NCCL (Debian and Ubuntu: libnccl2; pip: nvidia-nccl-cu13), or set VERIDICAL_NCCL to its libnccl.so.2"
        ))
    }

    /// With its version, if that is new enough.
    fn checked(mut self) -> Result<Self, String> {
        // SAFETY: the number outlives the call.
        let code = unsafe { (self.get_version)(&mut self.version) };
        if code != 0 {
            return Err(format!("{} does not tell its version: {}", self.name, self.words(Outcome(code))));
        }
        if self.version < OLDEST {
            return Err(format!(
                "{} is NCCL {}, and 2.14 is needed at least; install a newer one, or set VERIDICAL_NCCL to its file",
                self.name,
                self.version()
            ));
        }
        Ok(self)
    }

    /// As people write it, such as 2.27.3.
    pub fn version(&self) -> String {
        // The numbers were one digit shorter before 2.9.
        let unit = if self.version < 10_000 { 1000 } else { 10_000 };
        format!("{}.{}.{}", self.version / unit, self.version % unit / 100, self.version % 100)
    }

    /// What an outcome is in NCCL's own words.
    pub fn words(&self, outcome: Outcome) -> String {
        // SAFETY: NCCL returns a text of its own that lasts, for any number.
        unsafe {
            let text = (self.error_string)(outcome.0);
            if text.is_null() {
                format!("error {}", outcome.0)
            } else {
                CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        }
    }

    /// A new id, for the ranks to meet by.
    pub fn unique_id(&self) -> Result<UniqueId, Outcome> {
        let mut id = UniqueId([0; 128]);
        // SAFETY: the id has the size that NCCL writes.
        well(unsafe { (self.get_unique_id)(&mut id) })?;
        Ok(id)
    }

    /// Begins to meet the other ranks, on the calling thread's CUDA device.
    pub fn meet(&self, id: UniqueId, rank: usize, size: usize) -> Result<Communicator, Outcome> {
        let (mut communicator, mut config) = (std::ptr::null_mut(), Config::without_blocking());
        // SAFETY: both places outlive the call, and the configuration tells its own size.
        well(unsafe { (self.init_rank)(&mut communicator, size as c_int, id, rank as c_int, &mut config) })?;
        Ok(communicator)
    }

    /// How what was begun last fares.
    ///
    /// # Safety
    /// The communicator is one of [`meet`](Self::meet) that has not been [aborted](Self::abort).
    pub unsafe fn progress(&self, communicator: Communicator) -> Outcome {
        let mut state = 0;
        // SAFETY: as the caller promises; the number outlives the call.
        let asked = Outcome(unsafe { (self.async_error)(communicator, &mut state) });
        if asked.is_well() { Outcome(state) } else { asked }
    }

    /// Begins to send and to receive, all as one.
    ///
    /// # Safety
    /// As for [`progress`](Self::progress); the addresses are of the communicator's device, with room for as many
    /// numbers, and stay until the stream is done with it.
    pub unsafe fn transfer(
        &self,
        communicator: Communicator,
        stream: Stream,
        outgoing: &[Transfer],
        incoming: &[Transfer],
    ) -> Result<(), Outcome> {
        // SAFETY: as the caller promises. A group that was begun is ended whatever fails in it.
        unsafe {
            well((self.group_start)())?;
            let send = |t: &Transfer| {
                (self.send)(t.address as *const c_void, t.count, FLOAT32, t.rank as c_int, communicator, stream)
            };
            let receive = |t: &Transfer| {
                (self.receive)(t.address as *mut c_void, t.count, FLOAT32, t.rank as c_int, communicator, stream)
            };
            let begun = outgoing.iter().map(send).chain(incoming.iter().map(receive)).try_for_each(well);
            let ended = well((self.group_end)());
            begun.and(ended)
        }
    }

    /// Begins to have a communicator finish what is under way, and be used for nothing else.
    ///
    /// # Safety
    /// As for [`progress`](Self::progress).
    pub unsafe fn finalize(&self, communicator: Communicator) -> Outcome {
        // SAFETY: as the caller promises.
        Outcome(unsafe { (self.finalize)(communicator) })
    }

    /// Ends a communicator, whatever is under way.
    ///
    /// # Safety
    /// As for [`progress`](Self::progress); it is not used again.
    pub unsafe fn abort(&self, communicator: Communicator) {
        // SAFETY: as the caller promises. Whether it went well changes nothing.
        unsafe { (self.abort)(communicator) };
    }
}

fn well(code: c_int) -> Result<(), Outcome> {
    let outcome = Outcome(code);
    if outcome.is_well() { Ok(()) } else { Err(outcome) }
}
