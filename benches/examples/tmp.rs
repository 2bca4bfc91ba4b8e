fn main() {
    let s: u64 = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(10);
    let r = kuvert_bench::crypto(std::time::Duration::from_secs(s), |_| {}).unwrap();
    println!("{}", r.text());
}
