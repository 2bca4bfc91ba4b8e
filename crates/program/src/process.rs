//! What a program settles with the system before it does anything else.

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// Lets a write beyond the limit on the size of files fail like one on a full disk. Without it the system kills the process
/// there, in the middle of what it does. A system that refuses goes on without.
pub fn outlive_the_file_size_limit() {
    // A handler stays for the life of the process, also when the runtime that set it is gone: it has nothing to do.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    let _ = runtime.block_on(async { signal(SignalKind::from_raw(Signal::XFSZ.as_raw())) });
}

/// A command line that takes an empty variable for one that is not set: a unit or a compose file says so with it.
pub fn without_empty_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let is_empty =
                arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
            if is_empty { arg.env(clap::builder::Resettable::Reset) } else { arg }
        })
        .mut_subcommands(without_empty_variables)
}
