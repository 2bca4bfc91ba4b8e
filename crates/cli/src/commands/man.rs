//! `kuvert man`

use clap::CommandFactory;

use crate::args::{Args, Man};
use crate::error::Failure;

/// Writes one page for each of the programs and one for every command.
pub fn run(args: &Man) -> Result<(), Failure> {
    let doing = format!("write manual pages to {}", args.directory.display());
    std::fs::create_dir_all(&args.directory).map_err(|error| Failure::io(&doing, &error))?;
    for program in [Args::command(), kuvert_relay::program::command(), kuvert_lens_page::program::command()] {
        clap_mangen::generate_to(program, &args.directory).map_err(|error| Failure::io(&doing, &error))?;
    }
    Ok(())
}
