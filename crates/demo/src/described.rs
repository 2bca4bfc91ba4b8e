//! For the page: what a mass-market messenger's users are described to tell its server, told by Alice and Bob before their
//! first letter. Everything is invented. Level L0 shows all of it, the levels above what is left.

use std::path::Path;

use kuvert_cli::error::Failure;

use crate::process::{Client, log_path};

/// Numbers that are set aside for stories, by Ofcom and by the North American plan.
const ALICE: &str = "+447700900101";
const BOB: &str = "+12025550102";

/// Bob's, and two people's who were never asked.
const ALICES_ADDRESS_BOOK: &str = "phone,name,email,birthday,address
+12025550102,Bob,,,
+447700900103,Dora Example,dora@example.org,1971-02-03,1 Example Lane
+447700900104,Dr. Sample,,,
";

const BOBS_ADDRESS_BOOK: &str = "phone,name\n+447700900101,Alice\n+447700900104,Dr. Sample\n";

/// Tells it. The relay in `data` runs the demonstration of sharing.
///
/// # Errors
/// A client fails, or the disk is full.
pub async fn tell(data: &Path, directory: &Path, alice: &Client, bob: &Client) -> Result<(), Failure> {
    for (client, number, book, about, version) in [
        (alice, ALICE, ALICES_ADDRESS_BOOK, "away until Sunday", "2016-08-25"),
        (bob, BOB, BOBS_ADDRESS_BOOK, "in the garden", "2021-01-04"),
    ] {
        let run = async |arguments: &[&str]| client.run(arguments, "").await.map(drop);
        run(&["--level", "L0", "account", "phone", number]).await?;
        run(&["account", "verify", &code(data)?]).await?;
        run(&["account", "profile", "--display-name", client.name, "--about", about, "--public"]).await?;
        let path = directory.join(format!("{}.csv", client.name.to_lowercase()));
        kuvert_cli::files::replace(&path, book).map_err(|error| Failure::io("write an address book", &error))?;
        run(&["account", "upload", "--address-book", &path.to_string_lossy()]).await?;
        run(&["account", "consent", "--accept", version]).await?;
    }
    // Bob's phone allows nothing.
    let granted = ["battery", "other-messenger", "location"].map(|name| ["--grant", name]);
    alice.run(&[&["account", "permissions"], granted.as_flattened()].concat(), "").await?;
    let report = directory.join("report");
    alice.run(&["account", "report", "--out", &report.to_string_lossy()], "").await.map(drop)
}

/// The last code in the relay's log: it sends no text messages.
fn code(data: &Path) -> Result<String, Failure> {
    let log = std::fs::read_to_string(log_path(data)).map_err(|error| Failure::io("read the relay's log", &error))?;
    let last = log.rsplit("phone_code=").next().unwrap_or_default();
    Ok(last.chars().filter(|c| *c != '"').take_while(char::is_ascii_digit).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_messenger_and_the_page_know_the_same_sheet_of_permissions() {
        let told = kuvert_client::PERMISSIONS.map(|permission| (permission.name, permission.row));
        assert_eq!(told, kuvert_lens_page::told::SHEET.map(|(name, row, _)| (name, row)));
    }
}
