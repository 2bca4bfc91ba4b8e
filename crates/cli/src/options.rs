//! From raw flags to resolved options: which home, which form of output, how much to say.

use std::net::IpAddr;
use std::path::PathBuf;

use kuvert_program::directories;
use kuvert_types::Level;

use crate::args::GlobalArgs;
use crate::error::Failure;
use crate::output::Output;

/// What every command gets.
#[derive(Clone, Debug)]
pub struct Options {
    home: Option<PathBuf>,
    /// The level of disclosure that the home is to go to.
    pub level: Option<Level>,
    /// The address of this machine to connect from.
    pub local_address: Option<IpAddr>,
    /// Where results go, and in which form.
    pub output: Output,
}

impl Options {
    /// Resolves the global flags.
    pub fn resolve(args: GlobalArgs) -> Self {
        Self {
            home: args.home.filter(|home| !home.as_os_str().is_empty()),
            level: args.level,
            local_address: args.local_address,
            output: Output::new(args.json),
        }
    }

    /// The same with what was given behind the command's name.
    #[must_use]
    pub fn with(&self, args: GlobalArgs) -> Self {
        Self {
            home: args.home.or_else(|| self.home.clone()),
            level: args.level.or(self.level),
            local_address: args.local_address.or(self.local_address),
            output: Output::new(args.json || self.output.is_json()),
        }
    }

    /// The home directory: `--home`, `KUVERT_HOME`, or `kuvert` in the XDG data directory.
    ///
    /// # Errors
    /// None was named and there is no user's directory to put it into.
    pub fn home(&self) -> Result<PathBuf, Failure> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        let base = directories::data().ok_or_else(|| {
            Failure::new("no-home", "there is no home directory to keep the account in: name one with --home DIR")
        })?;
        Ok(base.join("kuvert"))
    }
}
