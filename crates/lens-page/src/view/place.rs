//! A rough place: the country from a phone number's dialling code, and a simulated place from an IP address.
//!
//! Operators buy databases that know a town for most addresses. None is bundled here: `NETWORKS` has the ranges that are
//! set aside for private use and for documents, and the loopback addresses from which the demo's and the story's invented
//! people connect, each with an invented place. Other addresses are in no place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// The demo's Alice and Bob connect from here.
pub const DEMO: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 1, 1, 1), Ipv4Addr::new(127, 1, 2, 1)];

/// The first of the addresses of a house in the story's town.
pub const fn house(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 2, number, 1)
}

/// A range: its first address, the bits that its addresses have in common, and where it is.
type Network = (IpAddr, u32, &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u32, place: &'static str) -> Network {
    (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits, place)
}

const fn v6(first: u16, second: u16, bits: u32, place: &'static str) -> Network {
    (IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), bits, place)
}

/// The first that holds an address decides.
const NETWORKS: [Network; 23] = [
    v4(127, 1, 1, 0, 24, "Alder Town"),
    v4(127, 1, 2, 0, 24, "Birch Town"),
    v4(127, 2, 1, 0, 24, "Mill Lane"),
    v4(127, 2, 2, 0, 24, "Church Street"),
    v4(127, 2, 3, 0, 24, "Garden Street"),
    v4(127, 2, 4, 0, 24, "the bakery"),
    v4(127, 2, 5, 0, 24, "the flower shop"),
    v4(127, 2, 6, 0, 24, "Hospital Hill"),
    v4(127, 2, 7, 0, 24, "Court Square"),
    v4(127, 2, 8, 0, 24, "Market Square"),
    v4(127, 0, 0, 0, 8, "this machine"),
    v4(10, 0, 0, 0, 8, "a private network"),
    v4(172, 16, 0, 0, 12, "a private network"),
    v4(192, 168, 0, 0, 16, "a private network"),
    v4(169, 254, 0, 0, 16, "a private network"),
    v4(100, 64, 0, 0, 10, "behind a provider's shared address"),
    v4(192, 0, 2, 0, 24, "Example Town"),
    v4(198, 51, 100, 0, 24, "Sample City"),
    v4(203, 0, 113, 0, 24, "Specimen Harbour"),
    v6(0x2001, 0x0db8, 32, "Example Town"),
    v6(0xfc00, 0, 7, "a private network"),
    v6(0xfe80, 0, 10, "a private network"),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128, "this machine"),
];

/// Where an address is, by the simulated table; `None` if the table does not have it, or it is no address.
pub fn of_address(address: &str) -> Option<&'static str> {
    let address: IpAddr = address.parse().ok()?;
    let holds = |(first, bits, _): &&Network| match (first, address.to_canonical()) {
        (IpAddr::V4(first), IpAddr::V4(address)) => {
            first.to_bits().checked_shr(32 - bits) == address.to_bits().checked_shr(32 - bits)
        }
        (IpAddr::V6(first), IpAddr::V6(address)) => {
            first.to_bits().checked_shr(128 - bits) == address.to_bits().checked_shr(128 - bits)
        }
        _ => false,
    };
    NETWORKS.iter().find(holds).map(|(_, _, place)| *place)
}

/// The country of a number as E.164 writes it; `None` if the table does not have it.
pub fn of_number(number: &str) -> Option<&'static str> {
    COUNTRIES.iter().find(|(code, _)| number.starts_with(code)).map(|(_, country)| *country)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_and_no_code_hides_another() {
        assert_eq!(of_number("+4915112345678"), Some("Germany"));
        assert_eq!(of_number("+351912345678"), Some("Portugal"));
        assert_eq!(of_number("+99912345678"), None);
        for (code, country) in COUNTRIES {
            assert_eq!(of_number(&format!("{code}5550100")), Some(country));
        }
    }

    #[test]
    fn an_address_is_in_the_first_range_that_holds_it() {
        for (address, place) in [
            ("127.1.1.1", Some("Alder Town")),
            ("127.1.2.255", Some("Birch Town")),
            ("127.0.0.1", Some("this machine")),
            ("::1", Some("this machine")),
            ("10.255.255.255", Some("a private network")),
            ("172.31.0.1", Some("a private network")),
            ("172.32.0.1", None),
            ("203.0.113.77", Some("Specimen Harbour")),
            ("::ffff:203.0.113.77", Some("Specimen Harbour")),
            ("2001:db8::7", Some("Example Town")),
            ("fd00::1", Some("a private network")),
            ("fe80::1", Some("a private network")),
            ("2001:db9::7", None),
            ("8.8.8.8", None),
            ("not an address", None),
        ] {
            assert_eq!(of_address(address), place, "{address}");
        }
        for address in DEMO.into_iter().chain((1..=8).map(house)) {
            assert_ne!(of_address(&address.to_string()), Some("this machine"), "{address} has a place of its own");
        }
        assert!(
            NETWORKS.iter().all(|(first, _, place)| of_address(&first.to_string()) == Some(place)),
            "none hides one"
        );
    }
}
