//! Allocations, counted. A growth is a regression that no timer sees; this fails on any change, and says the new count.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test

use std::alloc::System;

use kuvert_bench::allocations::TABLE;
use kuvert_bench::conversation::{Conversation, Half, OneDirection, OutOfOrder, PingPong};
use kuvert_bench::files::Files;
use kuvert_bench::kuvert::{CallersBuffers, EstablishIn, EstablishOut, Kuvert, Restore, Snapshot};
use kuvert_bench::meter::{Batch, Meter};
use kuvert_bench::post_quantum::{PostQuantum, messages_in_two_epochs};
use kuvert_bench::rows::{FILE, SIZE, SIZES, SKIPPED, shape};
use kuvert_bench::sealed_sender::SealedSender;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Default)]
struct Allocations {
    region: Option<Region<'static, System>>,
    total: usize,
}

impl Meter for Allocations {
    fn start(&mut self) {
        self.region = Some(Region::new(ALLOCATOR));
    }

    fn stop(&mut self) {
        let change = self.region.take().expect("started").change();
        self.total += change.allocations + change.reallocations;
    }
}

/// Of one operation, to a hundredth, over batches in which the Braid passes through all its states.
fn count(mut batch: impl Batch) -> f64 {
    const BATCHES: usize = 40;
    let mut meter = Allocations::default();
    for _ in 0..BATCHES {
        batch.run(&mut meter).unwrap();
    }
    let operations = (BATCHES * batch.operations()) as f64;
    (meter.total as f64 / operations * 100.0).round() / 100.0
}

// One test in this file: the counter is the whole process's.
#[test]
fn the_table_says_what_is_allocated() {
    let turns = messages_in_two_epochs().unwrap();
    let mut counted = Vec::new();
    for (name, half) in [("encrypt", Half::Send), ("decrypt", Half::Receive)] {
        for size in SIZES {
            let (parts, in_batch) = shape(size);
            let batch = OneDirection::<Kuvert>::new(half, size, parts, in_batch).unwrap();
            counted.push((name, Some(size), count(batch)));
        }
    }
    for (name, half) in [("encrypt_into", Half::Send), ("decrypt_into", Half::Receive)] {
        counted.push((name, Some(SIZE), count(CallersBuffers::new(half, SIZE).unwrap())));
    }
    counted.push(("ping_pong", Some(SIZE), count(PingPong::<Kuvert>::new(SIZE, turns).unwrap())));
    counted.push(("establish_out", Some(SIZE), count(EstablishOut::new(SIZE).unwrap())));
    counted.push(("establish_in", Some(SIZE), count(EstablishIn::new(SIZE).unwrap())));
    counted.push(("out_of_order", Some(SIZE), count(OutOfOrder::<Kuvert>::new(SIZE, SKIPPED).unwrap())));
    for (name, half) in [("seal", Half::Send), ("open_sealed", Half::Receive)] {
        counted.push((name, Some(SIZE), count(SealedSender::new(half, SIZE).unwrap())));
    }
    for (name, half) in [("file_seal", Half::Send), ("file_open", Half::Receive)] {
        counted.push((name, Some(FILE), count(Files::new(half, FILE).unwrap())));
    }
    counted.push(("braid", None, count(PingPong::<PostQuantum>::new(SIZE, turns).unwrap())));
    counted.push(("snapshot", None, count(Snapshot(Kuvert::begin().unwrap()))));
    counted.push(("restore", None, count(Restore(Kuvert::begin().unwrap()))));
    assert_eq!(counted, TABLE, "counted, and what src/allocations.rs says");
}
