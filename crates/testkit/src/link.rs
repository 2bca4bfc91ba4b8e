//! The way between a device and the relay. It loses, repeats and delays packets, each for itself, and so reorders them; at
//! times it is cut off altogether. It never alters one: that is the relay's part.

use std::collections::BTreeMap;

use kuvert_types::Address;

use crate::rng::TestRng;

/// How bad the link is.
#[derive(Clone, Copy, Debug)]
pub struct LinkFaults {
    /// Packets lost, in a thousand.
    pub loss: u64,
    /// Packets that come twice, in a thousand.
    pub duplication: u64,
    /// Milliseconds that a packet takes, at most.
    pub delay: u64,
}

impl LinkFaults {
    /// Nothing is lost, and packets keep their order.
    pub const NONE: Self = Self { loss: 0, duplication: 0, delay: 20 };
}

/// The links of all devices.
pub struct Link {
    faults: LinkFaults,
    /// Until when a device hears and says nothing.
    cut: BTreeMap<Address, u64>,
    rng: TestRng,
}

/// Milliseconds that every packet takes.
const SHORTEST: u64 = 20;

impl Link {
    pub(crate) fn new(faults: LinkFaults, rng: TestRng) -> Self {
        Self { faults, cut: BTreeMap::new(), rng }
    }

    pub(crate) fn heal(&mut self) {
        self.faults = LinkFaults::NONE;
        self.cut.clear();
    }

    pub(crate) fn cut_off(&mut self, device: Address, until: u64) {
        self.cut.insert(device, until);
    }

    pub(crate) fn is_cut(&self, device: Address, now: u64) -> bool {
        self.cut.get(&device).is_some_and(|until| now < *until)
    }

    /// When a packet that leaves now arrives: never, once, or twice.
    pub(crate) fn carry(&mut self, device: Address, now: u64) -> Vec<u64> {
        if self.is_cut(device, now) || self.rng.chance(self.faults.loss) {
            return Vec::new();
        }
        let copies = if self.rng.chance(self.faults.duplication) { 2 } else { 1 };
        (0..copies).map(|_| now + self.rng.between(SHORTEST, self.faults.delay)).collect()
    }
}
