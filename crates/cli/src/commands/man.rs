//! `kuvert man`

use clap::CommandFactory;

use crate::args::{Args, Man};
use crate::error::Failure;

/// Writes one page for each of the two programs and one for every command.
pub fn run(args: &Man) -> Result<(), Failure> {
    let doing = format!("write manual pages to {}", args.directory.display());
    std::fs::create_dir_all(&args.directory).map_err(|error| Failure::io(&doing, &error))?;
    for program in [Args::command(), kuvert_relay::program::command()] {
        clap_mangen::generate_to(program, &args.directory).map_err(|error| Failure::io(&doing, &error))?;
    }
    Ok(())
}
