//! `cargo bench -p kuvert-bench`: the hot paths under divan, with the workloads of `kuvert-bench crypto`. For a quick look while
//! changing something; what is published comes from `kuvert-bench crypto`, which takes turns with a bound and a peer.

#![allow(clippy::expect_used)] // a benchmark that cannot run has nothing else to say

use divan::Bencher;
use divan::counter::BytesCount;
use kuvert_bench::conversation::{Conversation, OutOfOrder, PingPong, Side, content};
use kuvert_bench::kuvert::{EstablishIn, EstablishOut, Kuvert};
use kuvert_bench::meter::{Batch, Meter};
use kuvert_bench::post_quantum::PostQuantum;

fn main() {
    divan::main();
}

/// divan has its own clock.
struct NoMeter;

impl Meter for NoMeter {
    fn start(&mut self) {}
    fn stop(&mut self) {}
}

#[divan::bench(args = [64, 256, 1024, 16_384, 65_536])]
fn encrypt(bencher: Bencher<'_, '_>, size: usize) {
    let mut pair = Kuvert::begin().expect("a session");
    let content = content(size);
    bencher.counter(BytesCount::new(size)).bench_local(|| pair.send(Side::Alice, &content).expect("encrypted"));
}

#[divan::bench(args = [64, 256, 1024, 16_384, 65_536])]
fn encrypt_and_decrypt(bencher: Bencher<'_, '_>, size: usize) {
    let mut pair = Kuvert::begin().expect("a session");
    let content = content(size);
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let message = pair.send(Side::Alice, &content).expect("encrypted");
        pair.receive(Side::Bob, &message).expect("decrypted")
    });
}

fn batch(bencher: Bencher<'_, '_>, mut batch: impl Batch) {
    bencher.bench_local(|| batch.run(&mut NoMeter).expect("a batch"));
}

#[divan::bench]
fn ping_pong(bencher: Bencher<'_, '_>) {
    batch(bencher, PingPong::<Kuvert>::new(256, 2).expect("a session"));
}

#[divan::bench]
fn post_quantum_ratchet(bencher: Bencher<'_, '_>) {
    batch(bencher, PingPong::<PostQuantum>::new(256, 2).expect("a ratchet"));
}

#[divan::bench]
fn establish_out_8(bencher: Bencher<'_, '_>) {
    batch(bencher, EstablishOut::new(256).expect("devices"));
}

/// With the initiator's half, which has to come first.
#[divan::bench]
fn establish_both_8(bencher: Bencher<'_, '_>) {
    batch(bencher, EstablishIn::new(256).expect("devices"));
}

#[divan::bench]
fn out_of_order_1000(bencher: Bencher<'_, '_>) {
    batch(bencher, OutOfOrder::<Kuvert>::new(256, 1_000).expect("a session"));
}
