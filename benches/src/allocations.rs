//! Allocations of one operation. They depend on the code alone, not on the machine, and a program that all developers run should
//! not carry a counting allocator: so `tests/allocations.rs` counts them with one and fails when this table is not what it
//! counted.

/// Row, size, and allocations of one operation, to a hundredth. What is above a whole number is the Braid moving on; AWS-LC's
/// Diffie–Hellman allocates too, some of it in Rust.
pub const TABLE: &[(&str, Option<usize>, f64)] = &[
    ("encrypt", Some(64), 1.0),
    ("encrypt", Some(256), 1.0),
    ("encrypt", Some(1_024), 1.0),
    ("encrypt", Some(16_384), 1.0),
    ("encrypt", Some(65_536), 1.0),
    ("encrypt", Some(1_048_576), 12.0),
    ("decrypt", Some(64), 1.0),
    ("decrypt", Some(256), 1.0),
    ("decrypt", Some(1_024), 1.0),
    ("decrypt", Some(16_384), 1.01),
    ("decrypt", Some(65_536), 1.04),
    ("decrypt", Some(1_048_576), 12.33),
    ("encrypt_into", Some(256), 0.0),
    ("decrypt_into", Some(256), 0.0),
    ("ping_pong", Some(256), 7.87),
    ("establish_out", Some(256), 23.0),
    ("establish_in", Some(256), 24.0),
    ("out_of_order", Some(256), 1.01),
    ("seal", Some(256), 6.0),
    ("open_sealed", Some(256), 5.0),
    ("file_seal", Some(1_048_576), 0.0),
    ("file_open", Some(1_048_576), 0.0),
    ("braid", None, 0.87),
    ("snapshot", None, 1.0),
    ("restore", None, 10.68),
];

/// What the table says of a row.
pub fn of(name: &str, size: Option<usize>) -> Option<f64> {
    TABLE.iter().find(|(row, bytes, _)| *row == name && *bytes == size).map(|(_, _, allocations)| *allocations)
}
