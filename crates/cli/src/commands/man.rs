//! `kuvert man`

use std::ffi::OsStr;

use clap::CommandFactory;
use kuvert_program::family::{self, Program};
use kuvert_program::manual;

use crate::args::{Args, Man};
use crate::error::Failure;
use crate::manual::MANUAL;

/// Writes a page for this program and one for each of its commands; then has every other program of this project that is there
/// write its own.
pub fn run(args: &Man) -> Result<(), Failure> {
    let doing = format!("write manual pages to {}", args.directory.display());
    MANUAL.write(Args::command(), &args.directory).map_err(|error| Failure::io(&doing, &error))?;
    for (name, _) in family::known() {
        let Ok(program) = Program::named(OsStr::new(name)) else { continue };
        let mut command = program.command([manual::WORD.into(), args.directory.clone().into()]);
        let status = command.status().map_err(|error| Failure::io(&doing, &error))?;
        if !status.success() {
            return Err(Failure::new("io", format!("cannot {doing}: {} failed", program.path().display())));
        }
    }
    Ok(())
}
