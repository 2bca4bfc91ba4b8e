//! `kuvert account upload`

use std::path::Path;

use kuvert_client::Person;
use kuvert_types::Level;

use crate::args::Upload;
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Uploads an address book, or takes it back.
pub async fn run(args: &Upload, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let Some(file) = &args.address_book else {
        let connection = client.connect().await?;
        connection.withdraw_address_book().await?;
        options.output.print(&Record::AddressBook { people: 0, without_account: 0 })?;
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
        options.output.print(&Record::AddressBookMatch { phone: &found.phone, account: &account })?;
    }
    options.output.print(&Record::AddressBook { people: upload.stored, without_account: upload.without_account })?;
    connection.close().await;
    Ok(())
}

/// Reads people from CSV, or says in which line somebody cannot be used.
fn read(path: &Path) -> Result<Vec<Person>, Failure> {
    let reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_path(path);
    parse(reader.map_err(|error| refuse(path, &error))?).map_err(|error| match error {
        Refused::Csv(error) => refuse(path, &error),
        Refused::Line(line, what) => Failure::new(
            "address-book-invalid",
            format!("{} line {line}: {what}; nothing was uploaded", path.display()),
        ),
    })
}

enum Refused {
    Csv(csv::Error),
    Line(u64, &'static str),
}

fn parse(mut reader: csv::Reader<impl std::io::Read>) -> Result<Vec<Person>, Refused> {
    let header = reader.headers().map_err(Refused::Csv)?.clone();
    let column = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
    let phone = column("phone").ok_or(Refused::Line(
        1,
        "the first line names the columns: phone, and name, email, birthday, address if there are any",
    ))?;
    let others = ["name", "email", "birthday", "address"].map(column);
    let mut people = Vec::new();
    for record in reader.into_records() {
        let record = record.map_err(Refused::Csv)?;
        let cell = |at: Option<usize>| Some(record.get(at?)?.to_owned()).filter(|cell| !cell.is_empty());
        let [name, email, birthday, address] = others.map(cell);
        let person = Person { phone: cell(Some(phone)).unwrap_or_default(), name, email, birthday, address };
        let line = record.position().map_or(0, csv::Position::line);
        person.check().map_err(|what| Refused::Line(line, what))?;
        people.push(person);
    }
    Ok(people)
}

fn refuse(path: &Path, error: &csv::Error) -> Failure {
    match error.kind() {
        csv::ErrorKind::Io(error) => Failure::io(&format!("read {}", path.display()), error),
        _ => Failure::new(
            "address-book-invalid",
            format!("{} is not CSV: {error}; nothing was uploaded", path.display()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(text: &str) -> Result<Vec<Person>, (u64, &'static str)> {
        let reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
        parse(reader).map_err(|refused| match refused {
            Refused::Line(line, what) => (line, what),
            Refused::Csv(error) => panic!("{error}"),
        })
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
