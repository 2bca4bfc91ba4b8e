//! `kuvert safety-number`

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::args::SafetyNumber;
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
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
    if args.qr { options.output.words(&format!("\n{}", qr(&number.digits)?)) } else { Ok(()) }
}

/// Both sides show the same code: scanning it compares all digits at once.
fn qr(digits: &str) -> Result<String, Failure> {
    let code = QrCode::new(digits.as_bytes()).map_err(|error| Failure::new("internal", format!("QR code: {error}")))?;
    // Terminals are dark more often than not: light modules are drawn, dark ones are the background.
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_digits_fit_a_small_code() {
        let drawn = qr(&"0123456789".repeat(6)).unwrap();
        let width = drawn.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(width <= 40, "{width}");
        assert!(drawn.lines().count() <= 20);
    }
}
