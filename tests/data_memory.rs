//! What reading a data set takes of the memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use veridical::data;

/// The system's, counting the bytes in use and the most that ever were.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(USED.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller's promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_folder_of_pictures_is_held_once() {
    const SIDE: u32 = 512;
    const COUNT: usize = 64;
    let place = tempfile::tempdir().unwrap();
    for i in 0..COUNT {
        let picture = image::GrayImage::from_pixel(SIDE, SIDE, image::Luma([i as u8]));
        picture.save(place.path().join(format!("{i:02}.png"))).unwrap();
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let before = USED.load(Relaxed);
    MOST.store(before, Relaxed);
    let set = pool.install(|| data::open(place.path())).unwrap().train;
    let took = MOST.load(Relaxed) - before;
    let pixels = COUNT * (SIDE * SIDE) as usize;
    assert!(took < pixels * 3 / 2, "{took} bytes for {pixels}");
    for i in [0, 1, 40, COUNT - 1] {
        let expected = i as f32 / 127.5 - 1.0;
        assert!(set.gather(&[i as u32]).unwrap().0.iter().all(|&pixel| pixel == expected), "picture {i}");
    }
}
