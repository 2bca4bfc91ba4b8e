//! A rough place, from the dialling code of a phone number: a small table, as anybody with the number has it.

/// Dialling codes of some countries (ITU-T E.164). None is the beginning of another.
const COUNTRIES: [(&str, &str); 34] = [
    ("+1", "North America"),
    ("+20", "Egypt"),
    ("+27", "South Africa"),
    ("+30", "Greece"),
    ("+31", "Netherlands"),
    ("+32", "Belgium"),
    ("+33", "France"),
    ("+34", "Spain"),
    ("+351", "Portugal"),
    ("+352", "Luxembourg"),
    ("+353", "Ireland"),
    ("+354", "Iceland"),
    ("+358", "Finland"),
    ("+36", "Hungary"),
    ("+380", "Ukraine"),
    ("+39", "Italy"),
    ("+40", "Romania"),
    ("+41", "Switzerland"),
    ("+420", "Czechia"),
    ("+421", "Slovakia"),
    ("+43", "Austria"),
    ("+44", "United Kingdom"),
    ("+45", "Denmark"),
    ("+46", "Sweden"),
    ("+47", "Norway"),
    ("+48", "Poland"),
    ("+49", "Germany"),
    ("+52", "Mexico"),
    ("+55", "Brazil"),
    ("+61", "Australia"),
    ("+81", "Japan"),
    ("+86", "China"),
    ("+90", "Turkey"),
    ("+91", "India"),
];

/// The country of a number as E.164 writes it; `None` if the table does not have it.
pub fn of(number: &str) -> Option<&'static str> {
    COUNTRIES.iter().find(|(code, _)| number.starts_with(code)).map(|(_, country)| *country)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_and_no_code_hides_another() {
        assert_eq!(of("+4915112345678"), Some("Germany"));
        assert_eq!(of("+351912345678"), Some("Portugal"));
        assert_eq!(of("+99912345678"), None);
        for (code, country) in COUNTRIES {
            assert_eq!(of(&format!("{code}5550100")), Some(country));
        }
    }
}
