//! The Rust of `proto/`. The crate `kuvert-wire` has it checked in, so that building `kuvert-wire` needs no protobuf compiler;
//! the build script of this crate makes it anew, and a test compares.
//!
//! After a change in `proto/`:
//!
//! ```text
//! KUVERT_WRITE_PROTO=1 cargo test -p kuvert-wire-gen
//! ```
//!
//! The types of a new file of the package `kuvert.v1` are then there. A file of another package gets a module of its own in
//! `crates/wire/src/lib.rs`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Where the build script left what it made.
const MADE: &str = concat!(env!("OUT_DIR"), "/generated");

/// Where `kuvert-wire` has it.
const CHECKED_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../wire/src/generated");

/// What the `.proto` files give: texts by the name of their file.
///
/// # Errors
/// A file cannot be read.
pub fn made() -> io::Result<BTreeMap<String, String>> {
    read(Path::new(MADE))
}

/// What is checked in: texts by the name of their file.
///
/// # Errors
/// A file cannot be read.
pub fn checked_in() -> io::Result<BTreeMap<String, String>> {
    read(Path::new(CHECKED_IN))
}

/// Puts what the `.proto` files give in the place of what is checked in.
///
/// # Errors
/// A file cannot be read or written.
pub fn write() -> io::Result<()> {
    let made = made()?;
    for name in checked_in()?.keys().filter(|name| !made.contains_key(*name)) {
        std::fs::remove_file(Path::new(CHECKED_IN).join(name))?;
    }
    for (name, text) in made {
        std::fs::write(Path::new(CHECKED_IN).join(name), text)?;
    }
    Ok(())
}

fn read(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        texts.insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read_to_string(entry.path())?);
    }
    Ok(texts)
}
