//! Seeded worlds, faulty links and malicious relays for the tests of Kuvert.
