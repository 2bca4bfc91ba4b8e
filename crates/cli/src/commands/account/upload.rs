//! `kuvert account upload`

use std::fs;
use std::path::Path;

use kuvert_client::Person;
use kuvert_types::Level;

use crate::args::Upload;
use crate::commands::account::csv::{self, Record};
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record as Printed;

/// Uploads an address book, or takes it back.
pub async fn run(args: &Upload, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let Some(file) = &args.address_book else {
        let connection = client.connect().await?;
        connection.withdraw_address_book().await?;
        options.output.print(&Printed::AddressBook { people: 0, without_account: 0 })?;
        connection.close().await;
        return Ok(());
    };
    // Above L0 the file is not even read.
    let level = client.level().await?;
    if level != Level::L0 {
        return Err(kuvert_client::Error::LevelTooHigh { level }.into());
    }
    let people = read(file)?;
    let connection = client.connect().await?;
    let upload = connection.upload_address_book(&people).await?;
    for found in &upload.matches {
        let account = found.account.to_string();
        options.output.print(&Printed::AddressBookMatch { phone: &found.phone, account: &account })?;
    }
    options.output.print(&Printed::AddressBook { people: upload.stored, without_account: upload.without_account })?;
    connection.close().await;
    Ok(())
}

/// Reads people from CSV, or says in which line there is an entry that cannot be used.
fn read(path: &Path) -> Result<Vec<Person>, Failure> {
    let invalid =
        |what: String| Failure::new("address-book-invalid", format!("{} {what}; nothing was uploaded", path.display()));
    let bytes = fs::read(path).map_err(|error| Failure::io(&format!("read {}", path.display()), &error))?;
    let text = String::from_utf8(bytes).map_err(|error| invalid(format!("is not CSV: {error}")))?;
    parse(&text).map_err(|Refused(line, what)| invalid(format!("line {line}: {what}")))
}

/// A line that cannot be used, and why.
struct Refused(u64, &'static str);

fn parse(text: &str) -> Result<Vec<Person>, Refused> {
    let mut records = csv::records(text).into_iter();
    let header = records.next().map(|header| header.cells).unwrap_or_default();
    let column = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
    let phone = column("phone").ok_or(Refused(
        1,
        "the first line names the columns: phone, and name, email, birthday, address if there are any",
    ))?;
    let others = ["name", "email", "birthday", "address"].map(column);
    let mut people = Vec::new();
    for Record { line, cells } in records {
        let cell = |at: Option<usize>| cells.get(at?).filter(|cell| !cell.is_empty()).cloned();
        let [name, email, birthday, address] = others.map(cell);
        let person = Person { phone: cell(Some(phone)).unwrap_or_default(), name, email, birthday, address };
        person.check().map_err(|what| Refused(line, what))?;
        people.push(person);
    }
    Ok(people)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(text: &str) -> Result<Vec<Person>, (u64, &'static str)> {
        parse(text).map_err(|Refused(line, what)| (line, what))
    }

    #[test]
    fn columns_are_found_by_name_and_empty_cells_are_nothing() {
        let found =
            people("Name,phone,address\n\"Carla, choir\", +4915550000003 ,\n,+4915550000004,\"1 Road\"\n").unwrap();
        let carla = Person { phone: "+4915550000003".into(), name: Some("Carla, choir".into()), ..Person::default() };
        let other = Person { phone: "+4915550000004".into(), address: Some("1 Road".into()), ..Person::default() };
        assert_eq!(found, [carla, other]);
        assert_eq!(people("phone\n").unwrap(), []);
    }

    #[test]
    fn the_line_that_is_wrong_is_named() {
        assert_eq!(people("phone,name\n+4915550000003,x\n030 1234,y\n").unwrap_err().0, 3);
        assert_eq!(people("phone\n+4915550000003\n\"\"\n").unwrap_err().0, 3, "without a number");
        assert_eq!(people("name,number\nx,+4915550000003\n").unwrap_err().0, 1, "without a column for it");
    }
}
