//! `kuvert __contacts [HOME]`: the names that the shells' scripts complete.

use std::ffi::OsString;
use std::io::Write as _;

use kuvert_client::{Client, ContactInfo};

use crate::args::GlobalArgs;
use crate::commands::{client_options, runtime};
use crate::error::Failure;
use crate::options::Options;
use crate::output::harmless;

/// The word that asks for them. No command of this or another program is called so.
pub const WORD: &str = "__contacts";

/// Prints the names of contacts and requests of a home, one a line: the one that is named, or the usual one. Nothing is changed, no
/// lock is taken and no relay is asked; where there is no home that can be read, there are no names.
pub fn run(home: Option<&OsString>) {
    let home = home.map(Into::into).or_else(|| std::env::var_os("KUVERT_HOME").map(Into::into));
    let options = Options::resolve(GlobalArgs { home, ..GlobalArgs::default() });
    let Ok(names) = names(&options) else { return };
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    // A shell that left has completed enough.
    let _ = std::io::stdout().write_all(lines.as_bytes());
}

fn names(options: &Options) -> Result<Vec<String>, Failure> {
    runtime()?.block_on(async {
        let read_only = kuvert_client::Options { read_only: true, ..client_options(options, None) };
        let contacts = Client::open(&options.home()?, read_only).await?.contacts();
        let all = contacts.list().await?.into_iter().chain(contacts.requests().await?);
        Ok(all.map(|ContactInfo { alias, .. }| alias).filter(|alias| is_typed(alias)).collect())
    })
}

/// Whether a name can be typed and shown by a shell as it is: what a terminal would obey, what cannot be seen and what passes for an
/// option is not offered.
fn is_typed(alias: &str) -> bool {
    !alias.is_empty() && !alias.starts_with('-') && harmless::line(alias) == alias
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_cannot_show_or_would_take_for_an_option_is_not_offered() {
        for offered in ["bob", "Bob from work", "$(touch x)", "O'Neill", "Zoë", "a;b", "`x`", "*"] {
            assert!(is_typed(offered), "{offered}");
        }
        for kept in ["", "-x", "--all", "a\nb", "a\tb", "\u{1b}[2J", "bob\u{200b}", "\u{202e}bob"] {
            assert!(!is_typed(kept), "{kept:?}");
        }
    }
}
