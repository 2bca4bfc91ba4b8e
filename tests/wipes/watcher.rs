//! An allocator that looks for secrets in every block of memory that is given back.
//!
//! A vector that grows is looked at, too: without a `realloc` of its own, an allocator copies and gives the old block back.

#![allow(unsafe_code)] // an allocator is unsafe code

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;

/// Bytes of a secret that have to turn up together. Few enough to find a part of a key, enough to find nothing by chance.
const WINDOW: usize = 16;

/// What to look for.
pub struct Secrets {
    /// Each window of a secret, and the secret's name.
    windows: HashMap<u128, &'static str>,
    /// Which values the last two bytes of a window have, to pass over most places at once.
    endings: Vec<bool>,
}

impl Default for Secrets {
    fn default() -> Self {
        Self { windows: HashMap::new(), endings: vec![false; 1 << 16] }
    }
}

impl Secrets {
    /// Adds a secret of at least 16 bytes. One that is zero, as before its first use, is none.
    pub fn learn(&mut self, name: &'static str, secret: &[u8]) {
        assert!(secret.len() >= WINDOW, "{name}");
        for window in secret.windows(WINDOW).step_by(WINDOW / 2) {
            if window.iter().any(|byte| *byte != window[0]) {
                let window = window.iter().fold(0, |value, byte| value << 8 | u128::from(*byte));
                self.windows.entry(window).or_insert(name);
                self.endings[window as usize & 0xFFFF] = true;
            }
        }
    }

    /// How many windows are looked for.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    fn find(&self, bytes: impl Iterator<Item = u8>) -> Option<&'static str> {
        let mut window = 0_u128;
        bytes.enumerate().find_map(|(at, byte)| {
            window = window << 8 | u128::from(byte);
            let whole = at + 1 >= WINDOW && self.endings[window as usize & 0xFFFF];
            if whole { self.windows.get(&window).copied() } else { None }
        })
    }
}

/// A block that was given back with a secret in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leak {
    /// Which secret, the first one in the block.
    pub secret: &'static str,
    /// Bytes of the block.
    pub block: usize,
    /// What the thread was doing, by [`note`].
    pub during: &'static str,
}

thread_local! {
    // Without destructors and made at compile time, so that the allocator can use them at any moment.
    static WATCHING: Cell<Option<&'static Secrets>> = const { Cell::new(None) };
    static DURING: Cell<&'static str> = const { Cell::new("") };
    static LEAKS: Cell<[Option<Leak>; 16]> = const { Cell::new([None; 16]) };
    static BLOCKS: Cell<usize> = const { Cell::new(0) };
}

/// Says what this thread does next.
pub fn note(during: &'static str) {
    DURING.set(during);
}

/// Runs `action` and watches what this thread gives back meanwhile: the leaks (different ones, the first 16), and how many
/// blocks were looked at.
pub fn watch(secrets: &'static Secrets, action: impl FnOnce()) -> (Vec<Leak>, usize) {
    LEAKS.set([None; 16]);
    BLOCKS.set(0);
    WATCHING.set(Some(secrets));
    action();
    WATCHING.set(None);
    (LEAKS.get().into_iter().flatten().collect(), BLOCKS.get())
}

fn report(leak: Leak) {
    let mut leaks = LEAKS.get();
    if !leaks.contains(&Some(leak))
        && let Some(free) = leaks.iter_mut().find(|place| place.is_none())
    {
        *free = Some(leak);
        LEAKS.set(leaks);
    }
}

struct Watcher;

#[global_allocator]
static WATCHER: Watcher = Watcher;

// SAFETY: what is asked for and what is given back goes to the system's allocator unchanged; in between, blocks are read.
// Nothing here allocates: looking up in a map does not, and the cells are made at compile time.
unsafe impl GlobalAlloc for Watcher {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that every byte of a block has been written once and none holds what an earlier owner left.
        // SAFETY: the caller's promise about `layout` is the one that the system's allocator asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(secrets) = WATCHING.get() {
            BLOCKS.set(BLOCKS.get() + 1);
            // SAFETY: the caller promises that the block came from here with this layout, and it is not given on yet: its
            // bytes are there to be read, and nobody else may use them. They are read as volatile because padding between
            // fields has no value that a compiler would have to respect.
            let bytes = (0..layout.size()).map(|at| unsafe { block.add(at).read_volatile() });
            if let Some(secret) = secrets.find(bytes) {
                report(Leak { secret, block: layout.size(), during: DURING.get() });
            }
        }
        // SAFETY: as above; `alloc` got it from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}
