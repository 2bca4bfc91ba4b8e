//! A phone's permission sheet, simulated: what a mass-market messenger is described to ask a phone for. This program runs on
//! no phone, asks for none of it and reads none of it. What is granted here makes it tell the relay, at L0, one invented line
//! that says that it is simulated, so that the lens can show where such a line would end up. Everything is denied until its
//! owner grants it, and again once the home goes above L0.

use kuvert_types::Level;
use kuvert_wire::v1::demonstration as wire;

use super::told::{note, row};
use crate::disclosure;
use crate::engine::Engine;
use crate::error::Error;
use crate::state::{self, ToldRow, own};
use crate::store::Table;

/// Something that a phone could allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permission {
    /// Its name, kebab-case: scripts and the relay's table rely on it.
    pub name: &'static str,
    /// What it would open, for people.
    pub title: &'static str,
    /// The row of docs/METADATA.md that it shows.
    pub row: &'static str,
    /// What the relay is told once it is granted: made up.
    pub value: &'static str,
}

const fn permission(row: &'static str, name: &'static str, title: &'static str, value: &'static str) -> Permission {
    Permission { name, title, row, value }
}

/// The sheet.
pub const PERMISSIONS: [Permission; 14] = [
    permission("M-12", "battery", "the battery's charge", "simulated: 82 %"),
    permission("M-12", "signal", "the strength of the signal", "simulated: 4 of 5 bars"),
    permission("M-12", "browser", "the browser", "simulated: Example Browser 1.0"),
    permission("M-12", "mobile-network", "the mobile network", "simulated: 5G"),
    permission("M-12", "provider", "its provider", "simulated: Example Mobile"),
    permission(
        "M-13",
        "other-messenger",
        "who I am at the parent company's other messenger",
        "simulated: user 1000042",
    ),
    permission("M-15", "location", "where I am", "simulated: 52.00 N, 10.00 E"),
    permission("M-15", "call-lists", "whom I called", "simulated: 3 calls today"),
    permission("M-15", "sms", "my text messages", "simulated: 2 messages"),
    permission("M-15", "microphone", "the microphone", "simulated: allowed"),
    permission("M-15", "camera", "the camera", "simulated: allowed"),
    permission("M-15", "album", "my pictures", "simulated: 5 pictures"),
    permission("M-15", "installed-apps", "which programs are installed", "simulated: a bank's, a clinic's"),
    permission("M-15", "memory-card", "the memory card", "simulated: 17 files"),
];

/// A permission, and whether it is granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permitted {
    /// What.
    pub permission: Permission,
    /// Whether the relay is told its line.
    pub granted: bool,
}

/// The simulated permission sheet. Above L0 all of it is denied.
///
/// # Errors
/// Those of the store.
pub(crate) async fn permissions(engine: &Engine) -> Result<Vec<Permitted>, Error> {
    engine
        .read(|tx| {
            let asked = disclosure::row(tx)?.level() == Level::L0;
            let granted = row(tx)?.granted;
            let permitted = |permission: Permission| Permitted {
                granted: asked && granted.iter().any(|name| name == permission.name),
                permission,
            };
            Ok(PERMISSIONS.into_iter().map(permitted).collect())
        })
        .await
}

/// Grants and denies permissions of the simulated sheet; what is in both is denied.
///
/// # Errors
/// `level-too-high` where something is granted above L0; the sheet is unchanged then.
pub(crate) async fn set_permissions(engine: &Engine, grant: &[Permission], deny: &[Permission]) -> Result<(), Error> {
    match note(engine).await? {
        level if level != Level::L0 && !grant.is_empty() => return Err(Error::LevelTooHigh { level }),
        _ => {}
    }
    let names = |permissions: &[Permission]| permissions.iter().map(|permission| permission.name).collect::<Vec<_>>();
    let (grant, deny) = (names(grant), names(deny));
    engine
        .write(move |tx| {
            let mut told = row(tx)?;
            told.granted.extend(grant.into_iter().map(str::to_owned));
            told.granted.retain(|name| !deny.contains(&name.as_str()));
            told.granted.sort_unstable();
            told.granted.dedup();
            state::put(tx, Table::Own, own::TOLD, &ToldRow { device_at: 0, ..told })
        })
        .await
}

/// What the relay is told of these.
pub fn lines(granted: &[String]) -> Vec<wire::SimulatedDetail> {
    let granted = PERMISSIONS.iter().filter(|permission| granted.iter().any(|name| name == permission.name));
    granted
        .map(|permission| wire::SimulatedDetail {
            what: permission.name.to_owned(),
            value: permission.value.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kuvert_types::limits::{MAX_DEVICE_DETAIL_BYTES, MAX_SIMULATED_DETAILS, is_valid_line};

    use super::*;

    #[test]
    fn every_line_says_that_it_is_simulated_and_fits() {
        let names: BTreeSet<&str> = PERMISSIONS.iter().map(|permission| permission.name).collect();
        assert!(names.len() == PERMISSIONS.len() && names.len() <= MAX_SIMULATED_DETAILS);
        for Permission { name, value, .. } in PERMISSIONS {
            assert!(value.starts_with("simulated: "), "{name}");
            assert!([name, value].iter().all(|text| is_valid_line(text, MAX_DEVICE_DETAIL_BYTES)), "{name}");
        }
        assert!(lines(&[]).is_empty());
        assert_eq!(lines(&["camera".to_owned(), "nonsense".to_owned()]).len(), 1);
    }
}
