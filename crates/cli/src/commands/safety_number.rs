//! `kuvert safety-number`

use crate::args::SafetyNumber;
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::qr::Qr;
use crate::output::record::Record;

/// Prints the number that both sides compare.
pub async fn run(args: &SafetyNumber, options: &Options) -> Result<(), Failure> {
    let contacts = open(options).await?.contacts();
    let number = contacts.safety_number(contacts.find(&args.who.who).await?.account).await?;
    options.output.print(&Record::SafetyNumber {
        who: &number.who,
        digits: &number.digits,
        verified: number.verified,
    })?;
    // Both sides show the same code: scanning it compares all digits at once.
    if args.qr { options.output.qr(&Qr::of(&number.digits)?) } else { Ok(()) }
}
