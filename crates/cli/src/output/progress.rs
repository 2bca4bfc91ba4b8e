//! How far a file is: a line on stderr that is drawn over, for a person at a terminal; objects for scripts. Nothing where neither reads along.

use std::io::{self, IsTerminal as _, Write as _};

use kuvert_client::{Transfer, safe_file_name};

use crate::error::Failure;
use crate::output::Output;
use crate::output::human::bytes;
use crate::output::record::Record;

/// Steps of a file that are told.
const STEPS: u64 = 100;

/// Shows files on their way.
#[derive(Debug, Default)]
pub struct Progress {
    /// Which file was told last, and how much of it.
    last: Option<(Transfer, u64)>,
    /// A line stands on stderr that is to be drawn over.
    drawn: bool,
}

impl Progress {
    /// Tells a step, if enough has happened.
    ///
    /// # Errors
    /// The output has no reader.
    pub async fn show(&mut self, transfer: &Transfer, output: Output) -> Result<(), Failure> {
        let step = transfer.done * STEPS / transfer.total.max(1);
        let key = Transfer::clone(transfer);
        let same = self.last.as_ref().is_some_and(|(last, told)| last.is_same_file(transfer) && *told == step);
        if same {
            return Ok(());
        }
        self.last = Some((key, step));
        let (what, name) = (if transfer.upload { "upload" } else { "download" }, safe_file_name(&transfer.name));
        if output.is_json() {
            return output
                .tell(&Record::Progress { what, name: &name, done: transfer.done, total: transfer.total })
                .await;
        }
        let mut stderr = io::stderr();
        if stderr.is_terminal() {
            let verb = if transfer.upload { "sending" } else { "fetching" };
            self.drawn = transfer.done < transfer.total;
            let end = if self.drawn { "" } else { "\n" };
            // When stderr is gone, there is no person to tell it to.
            let _ = write!(stderr, "\r\x1b[K{verb} {name}  {step} % of {}{end}", bytes(transfer.total))
                .and_then(|()| stderr.flush());
        }
        Ok(())
    }

    /// Ends the line, before something else is said.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = writeln!(io::stderr());
        }
    }
}
