//! Simulated people: their contacts, how much they write, when they are awake.
//!
//! Each person has two circles (a family, a team) in which all know each other, and further acquaintances whose number has a
//! heavy tail. Some circles have a group. How much a person writes, and how much of it to which contact, is log-normal.

use kuvert_types::{AccountId, Address, DeviceId};

use crate::random::{Random, Weighted};

/// Streams of randomness, one for each concern.
const STREAM: u64 = 1;

/// People in a circle, at least and at most.
const CIRCLE: (u64, u64) = (3, 12);

/// Acquaintances outside of the circles: a Pareto tail, cut.
const ACQUAINTANCES: (f64, f64, f64) = (4.0, 2.2, 150.0);

/// How unequal ties are: the strongest contact of a person gets some third of what they write.
const TIE_SIGMA: f64 = 1.3;

/// How unequal people are.
const ACTIVITY_SIGMA: f64 = 0.9;

/// The share of circles that have a group.
const WITH_GROUP: f64 = 0.3;

/// Pairs that write to each other for the first time while we watch.
const NEW_PAIRS: f64 = 0.05;

/// How many write in each hour of the day, against the mean: little at night, most in the evening.
pub const DAY: [f64; 24] = [
    0.5, 0.2, 0.12, 0.1, 0.1, 0.2, 0.5, 0.9, 1.2, 1.2, 1.2, 1.15, 1.3, 1.3, 1.2, 1.2, 1.2, 1.35, 1.5, 1.65, 1.75, 1.65,
    1.5, 1.0,
];

/// A person, by number.
pub type User = u32;

/// A person that another person knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contact {
    /// The person known.
    pub user: User,
    /// They have not written to each other before: the first message carries a handshake.
    pub new: bool,
}

/// One person.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their device.
    pub address: Address,
    /// By how many milliseconds their day is ahead of others'.
    pub ahead_ms: u64,
    /// Whom they know.
    pub contacts: Vec<Contact>,
    /// How much of what they write goes to whom.
    pub ties: Weighted,
    /// The groups that they are in.
    pub groups: Vec<u32>,
}

/// All simulated people.
#[derive(Clone, Debug)]
pub struct Population {
    /// By number.
    pub people: Vec<Person>,
    /// How much each writes.
    pub activity: Weighted,
    /// Members of each group.
    pub groups: Vec<Vec<User>>,
}

impl Population {
    /// Makes so many people.
    pub fn new(users: u32, seed: u64) -> Self {
        let mut random = Random::new(seed, STREAM);
        let mut people: Vec<Person> = (0..users).map(|_| person(&mut random)).collect();
        let activity: Vec<f64> = (0..users).map(|_| random.log_normal(1.0, ACTIVITY_SIGMA)).collect();
        let (pairs, groups) = ties(users, &mut random);
        let mut weights = vec![Vec::new(); people.len()];
        for (one, other) in pairs {
            let (weight, new) = (random.log_normal(1.0, TIE_SIGMA), random.chance(NEW_PAIRS));
            for (from, to) in [(one, other), (other, one)] {
                people[from as usize].contacts.push(Contact { user: to, new });
                weights[from as usize].push(weight);
            }
        }
        for (person, weights) in people.iter_mut().zip(weights) {
            person.ties = Weighted::new(weights);
        }
        for (group, members) in (0..).zip(&groups) {
            for member in members {
                people[*member as usize].groups.push(group);
            }
        }
        Self { people, activity: Weighted::new(activity), groups }
    }
}

fn person(random: &mut Random) -> Person {
    Person {
        address: Address { account: AccountId::from_bytes(random.id()), device: DeviceId::PRIMARY },
        // Early and late risers: within four hours.
        ahead_ms: random.below(4 * 3_600_000),
        contacts: Vec::new(),
        ties: Weighted::default(),
        groups: Vec::new(),
    }
}

/// Who knows whom, each pair once with the lower number first, and the groups.
fn ties(users: u32, random: &mut Random) -> (Vec<(User, User)>, Vec<Vec<User>>) {
    let (mut pairs, mut groups) = (Vec::new(), Vec::new());
    let mut order: Vec<User> = (0..users).collect();
    for _ in 0..2 {
        random.shuffle(&mut order);
        let mut rest = &order[..];
        while !rest.is_empty() {
            let size = CIRCLE.0 + random.below(CIRCLE.1 - CIRCLE.0 + 1);
            let (circle, others) = rest.split_at(rest.len().min(size as usize));
            rest = others;
            for (at, one) in circle.iter().enumerate() {
                pairs.extend(circle[at + 1..].iter().map(|other| ordered(*one, *other)));
            }
            if circle.len() > 2 && random.chance(WITH_GROUP) {
                groups.push(circle.to_vec());
            }
        }
    }
    let (least, alpha, most) = ACQUAINTANCES;
    let mut ends: Vec<User> = (0..users)
        .flat_map(|user| {
            let count = random.pareto(least, alpha).min(most) as usize;
            std::iter::repeat_n(user, count)
        })
        .collect();
    random.shuffle(&mut ends);
    pairs.extend(
        ends.as_chunks::<2>().0.iter().filter(|[one, other]| one != other).map(|[one, other]| ordered(*one, *other)),
    );
    pairs.sort_unstable();
    pairs.dedup();
    (pairs, groups)
}

/// The lower number first.
pub fn ordered(one: User, other: User) -> (User, User) {
    (one.min(other), one.max(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_know_some_two_dozen_others_and_a_few_know_many() {
        let population = Population::new(2_000, 1);
        let mut degrees: Vec<usize> = population.people.iter().map(|person| person.contacts.len()).collect();
        degrees.sort_unstable();
        let mean = degrees.iter().sum::<usize>() as f64 / degrees.len() as f64;
        assert!((18.0..28.0).contains(&mean), "{mean}");
        assert!(degrees[0] >= 2 && degrees[degrees.len() - 1] > 60, "{degrees:?}");
        let mutual = population.people.iter().zip(0..).all(|(person, user)| {
            person
                .contacts
                .iter()
                .all(|contact| population.people[contact.user as usize].contacts.iter().any(|back| back.user == user))
        });
        assert!(mutual);
        assert!((DAY.iter().sum::<f64>() / 24.0 - 1.0).abs() < 0.05);
    }
}
