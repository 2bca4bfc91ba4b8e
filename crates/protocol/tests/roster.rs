//! Rosters: the vectors, which the Python model checks as well, and worlds of random operations, dishonest ones among them.
//!
//! With the variable `KUVERT_PYTHON` the same worlds are resolved by the Python model, and compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use kuvert_protocol::group::roster::{
    Kind, MAX_EFFECTIVE, MAX_OPERATIONS, MAX_PARENTS, Operation, OperationId, Role, Roster, resolve,
};
use kuvert_types::{AccountId, AccountKey, DeviceId};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::{Map, Value, json};

// --- the form of the vectors: short names in place of hashes, ids and keys ---

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

fn name(bytes: &[u8]) -> String {
    String::from_utf8(bytes.iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
}

fn id(value: &Value) -> OperationId {
    OperationId::from_bytes(padded(value.as_str().unwrap()))
}

fn ids(value: &Value) -> Vec<OperationId> {
    value.as_array().unwrap().iter().map(id).collect()
}

fn device(value: &Value) -> DeviceId {
    DeviceId::new(value.as_u64().unwrap().try_into().unwrap()).unwrap()
}

fn operation(listed: &Value) -> Operation {
    let account = || AccountId::from_bytes(padded(listed["account"].as_str().unwrap()));
    let key = || AccountKey::from_bytes(padded(listed["key"].as_str().unwrap()));
    let kind = match listed["kind"].as_str().unwrap() {
        "create" => Kind::Create { key: key() },
        "grant" => Kind::Grant {
            account: account(),
            key: key(),
            role: match listed["role"].as_str().unwrap() {
                "owner" => Role::Owner,
                "admin" => Role::Admin,
                "member" => Role::Member,
                other => panic!("{other}"),
            },
        },
        "remove" => Kind::Remove { account: account() },
        "demote" => Kind::Demote { account: account() },
        "leave" => Kind::Leave,
        "resign" => Kind::Resign,
        "cut" => Kind::Cut { devices: listed["devices"].as_array().unwrap().iter().map(device).collect() },
        "info" => Kind::Info {
            field: listed["field"].as_u64().unwrap().try_into().unwrap(),
            value: listed["value"].as_str().unwrap().as_bytes().to_vec(),
        },
        "checkpoint" => Kind::Checkpoint,
        "close" => Kind::Close,
        other => panic!("{other}"),
    };
    Operation {
        id: id(&listed["id"]),
        parents: ids(&listed["parents"]),
        lamport: listed["lamport"].as_u64().unwrap(),
        author: AccountId::from_bytes(padded(listed["author"].as_str().unwrap())),
        device: (!listed["device"].is_null()).then(|| device(&listed["device"])),
        stint: (!listed["stint"].is_null()).then(|| id(&listed["stint"])),
        kind,
    }
}

fn operations(listed: &Value) -> Vec<Operation> {
    listed.as_array().unwrap().iter().map(operation).collect()
}

fn names<'a>(ids: impl IntoIterator<Item = &'a OperationId>) -> Vec<String> {
    ids.into_iter().map(|id| name(id.as_bytes())).collect()
}

fn shown(roster: &Roster) -> Value {
    let role = |role| match role {
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::Member => "member",
    };
    let members = roster.members.iter().map(|(account, member)| {
        let key = name(member.key.as_bytes());
        (name(account.as_bytes()), json!({ "role": role(member.role), "key": key }))
    });
    let info = roster.info.iter().map(|(field, value)| (field.to_string(), json!(name(value))));
    json!({
        "members": members.collect::<Map<_, _>>(),
        "info": info.collect::<Map<_, _>>(),
        "conflicts": roster.conflicts.iter().map(|account| name(account.as_bytes())).collect::<Vec<_>>(),
        "closed": roster.closed,
        "void": names(&roster.void),
        "held": names(&roster.held),
        "rejected": names(&roster.rejected),
        "heads": names(&roster.heads),
    })
}

fn vectors() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/roster.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!((file["layer"].as_str(), file["version"].as_u64()), (Some("roster"), Some(1)));
    file["cases"].as_array().unwrap().clone()
}

/// Sets of operations are kept in words of 64: none counts for another because of its place.
#[test]
fn how_many_others_there_are_changes_nothing() {
    let name = "who knows what was done under an appointment made in bad faith goes on, whatever counts beside that";
    let case = vectors().into_iter().find(|case| case["name"] == name).unwrap();
    let mut world = operations(&case["inputs"]["operations"]);
    let written = world.iter().find(|op| op.id == id(&json!("t"))).unwrap().clone();
    for number in 0..256 {
        let roster = resolve(&group(), &world);
        assert_eq!(json!(names(&roster.void)), case["outputs"]["void"], "{number} more");
        assert_eq!(shown(&roster)["members"], case["outputs"]["members"], "{number} more");
        world.push(Operation { id: id(&json!(format!("z{number:03}"))), ..written.clone() });
    }
}

#[test]
fn the_vectors_come_to_what_they_say() {
    let cases = vectors();
    assert!(cases.len() >= 60);
    for case in &cases {
        let (inputs, mut operations) = (&case["inputs"], operations(&case["inputs"]["operations"]));
        let name = case["name"].as_str().unwrap();
        for turn in 0..operations.len() {
            let roster = resolve(&id(&inputs["group"]), &operations);
            assert_eq!(shown(&roster), case["outputs"], "{name}, turn {turn}");
            // In another order, and with one twice.
            operations.rotate_left(1);
            operations.push(operations[turn / 2].clone());
        }
    }
}

// --- random worlds ---

/// One step, in numbers: who does what to whom, under which of its stints, knowing which operations.
#[derive(Clone, Copy, Debug)]
struct Step {
    author: u8,
    device: u8,
    action: u8,
    target: u8,
    role: u8,
    stint: u8,
    /// Which of the operations of before are parents: 0 for the newest ones.
    knows: [u8; 3],
    lie: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = any::<(u8, u8, u8, u8, u8, u8, [u8; 3], u8)>();
    let step = step.prop_map(|(author, device, action, target, role, stint, knows, lie)| Step {
        author,
        device,
        action,
        target,
        role,
        stint,
        knows,
        lie,
    });
    prop::collection::vec(step, 1..48)
}

const PEOPLE: [&str; 6] = ["C", "A", "B", "M", "N", "P"];

/// The operations that the steps make, as the vectors list them. Some break a rule: they are part of the world.
fn world(steps: &[Step]) -> Vec<Value> {
    let people = |n: u8| PEOPLE[usize::from(n) % PEOPLE.len()];
    let mut made: Vec<Value> = vec![json!({
        "id": "g", "kind": "create", "author": "C", "device": 1, "parents": [], "lamport": 0, "stint": null, "key": "key of C",
    })];
    for (number, step) in steps.iter().enumerate() {
        let author = people(step.author);
        let mut parents: BTreeSet<usize> =
            step.knows.iter().map(|back| made.len().saturating_sub(1 + usize::from(*back) % 12)).collect();
        if step.lie % 7 == 0 {
            parents = BTreeSet::from([made.len() - 1]);
        }
        let lamport = parents.iter().map(|parent| made[*parent]["lamport"].as_u64().unwrap()).max().unwrap() + 1;
        let lamport = if step.lie == 1 { lamport + 1 } else { lamport };
        let stints: Vec<&Value> = made
            .iter()
            .filter(|op| match op["kind"].as_str().unwrap() {
                "create" => author == "C",
                "grant" => op["account"] == author,
                _ => false,
            })
            .collect();
        let stint = stints.get(usize::from(step.stint) % stints.len().max(1)).map_or(json!("g"), |op| op["id"].clone());
        // Ids in no order.
        let id = format!("{:02x}{number}", step.knows[0] ^ step.lie);
        let parents: Vec<Value> = parents.into_iter().map(|parent| made[parent]["id"].clone()).collect();
        let mut op = json!({
            "id": id, "author": author, "device": 1 + u64::from(step.device % 2), "parents": parents, "lamport": lamport, "stint": stint,
        });
        let target = people(step.target);
        let more = match step.action % 16 {
            0..5 => json!({
                "kind": "grant", "account": target, "role": (["owner", "admin", "admin", "member"][usize::from(step.role) % 4]),
                "key": if step.lie == 2 { "another key".to_owned() } else { format!("key of {target}") },
            }),
            5..8 => json!({ "kind": "remove", "account": target }),
            8..10 => json!({ "kind": "demote", "account": target }),
            10 => json!({ "kind": "leave", "stint": null }),
            11 => json!({ "kind": "resign", "stint": null }),
            12 => json!({ "kind": "cut", "stint": null, "device": null, "devices": [1 + u64::from(step.role % 2)] }),
            13 => json!({ "kind": "info", "field": 1 + u64::from(step.role % 2), "value": format!("v{number}") }),
            14 => json!({ "kind": "checkpoint" }),
            _ => json!({ "kind": "close" }),
        };
        op.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        made.push(op);
    }
    made
}

fn group() -> OperationId {
    OperationId::from_bytes(padded("g"))
}

/// The operations of these and all that they know of.
fn closed(of: &[Operation], chosen: impl Fn(usize) -> bool) -> Vec<Operation> {
    let by_id: BTreeMap<OperationId, &Operation> = of.iter().map(|op| (op.id, op)).collect();
    let mut open: Vec<OperationId> = of.iter().enumerate().filter(|(i, _)| chosen(*i)).map(|(_, op)| op.id).collect();
    let mut found = BTreeMap::new();
    while let Some(id) = open.pop() {
        if let Some(op) = by_id.get(&id)
            && found.insert(id, (*op).clone()).is_none()
        {
            open.extend(&op.parents);
        }
    }
    found.into_values().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// T1: the same set comes to the same roster, whatever the order, and what was parted comes together.
    #[test]
    fn the_roster_depends_on_the_set_alone(steps in steps(), seed in any::<u64>()) {
        let mut operations: Vec<Operation> = world(&steps).iter().map(operation).collect();
        let roster = resolve(&group(), &operations);
        // A shuffle that needs nothing but a number.
        operations.sort_by_key(|op| op.id.as_bytes().iter().fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte))));
        operations.extend_from_within(..operations.len() / 2);
        prop_assert_eq!(&resolve(&group(), &operations), &roster);
        // Two members that each have a part, and all that their part knows of, exchange what they have.
        let half = |n: usize| closed(&operations, |i| i % 3 == n);
        let exchanged: Vec<Operation> = (0..3).flat_map(half).collect();
        prop_assert_eq!(&resolve(&group(), &exchanged), &roster);
    }

    /// T2: what an operation changes is junior to the stint under which it was issued, whatever it names as its past.
    #[test]
    fn only_seniors_undo(steps in steps()) {
        let operations: Vec<Operation> = world(&steps).iter().map(operation).collect();
        for last in 1..operations.len() {
            let (before, after) = (resolve(&group(), &operations[..last]), resolve(&group(), &operations[..=last]));
            // The creator has the least key: no other account's operation takes anything from it.
            let added = &operations[last];
            let creator = AccountId::from_bytes(padded("C"));
            if added.author != creator {
                let of = |roster: &Roster| roster.members.get(&creator).map(|member| member.role);
                prop_assert_eq!(of(&before), of(&after), "{:?}", added);
                let creators = |roster: &Roster| -> BTreeSet<OperationId> {
                    operations[..last].iter().filter(|op| op.stint == Some(group()) && roster.void.contains(&op.id)).map(|op| op.id).collect()
                };
                prop_assert_eq!(creators(&before), creators(&after), "{:?}", added);
            }
        }
    }

    /// T3: an operation that is void, refused or held changes nothing.
    #[test]
    fn what_is_void_has_no_effect(steps in steps()) {
        let operations: Vec<Operation> = world(&steps).iter().map(operation).collect();
        for last in 1..operations.len() {
            let (before, after) = (resolve(&group(), &operations[..last]), resolve(&group(), &operations[..=last]));
            let id = operations[last].id;
            if after.void.contains(&id) || after.rejected.contains(&id) || after.held.contains(&id) {
                prop_assert_eq!((&before.members, &before.info, before.closed), (&after.members, &after.info, after.closed));
            }
        }
    }
}

/// The same worlds, resolved by the Python model.
#[test]
fn the_python_model_comes_to_the_same() {
    let Some(python) = std::env::var_os("KUVERT_PYTHON") else {
        eprintln!("not compared with the Python model: KUVERT_PYTHON is not set");
        return;
    };
    let worlds: usize = std::env::var("KUVERT_WORLDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = steps();
    let worlds: Vec<Vec<Value>> =
        (0..worlds).map(|_| world(&strategy.new_tree(&mut runner).unwrap().current())).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop");
    let program = "import json, sys\nfrom kuvert_model import roster\n\
                   for line in sys.stdin: print(json.dumps(roster.resolve('g', json.loads(line))))";
    let mut model = Command::new(python)
        .args(["-c", program])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = model.stdin.take().unwrap();
    let lines: String = worlds.iter().map(|world| json!(world).to_string() + "\n").collect();
    let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = model.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success());
    let answers: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), worlds.len());
    for (world, answer) in worlds.iter().zip(answers) {
        let operations: Vec<Operation> = world.iter().map(operation).collect();
        assert_eq!(shown(&resolve(&group(), &operations)), answer, "{}", json!(world));
    }
}

#[test]
fn bounds_hold_and_floods_cost_their_author_only() {
    let mut made = world(&[]);
    let make = |id: String, parents: &[&str], lamport: u64, more: Value| {
        let mut op =
            json!({ "id": id, "author": "C", "device": 1, "parents": parents, "lamport": lamport, "stint": "g" });
        op.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        op
    };
    // As many operations as are looked at, and one more, of which none is.
    let title = json!({ "kind": "info", "field": 1, "value": "t" });
    let mut many = operations(&json!([made[0], make("t".to_owned(), &["g"], 1, title)]));
    for n in 0..MAX_OPERATIONS - 2 {
        let id = OperationId::from_bytes(padded(&format!("u{n}")));
        many.push(Operation { id, ..many[1].clone() });
    }
    assert_eq!(resolve(&group(), &many).members.len(), 1);
    let one_more = Operation { id: OperationId::from_bytes(padded("v")), ..many[1].clone() };
    many.push(one_more);
    assert_eq!(resolve(&group(), &many), Roster::default());
    // 600 titles at once by one device: 512 count, and those are the same for all.
    for n in 0..600 {
        made.push(make(format!("t{n:04}"), &["g"], 1, json!({ "kind": "info", "field": 1, "value": format!("{n}") })));
    }
    let roster = resolve(&group(), &operations(&json!(made)));
    assert_eq!(roster.void.len(), 600 - 512);
    assert_eq!(roster.info[&1], b"0");
    // One parent too many.
    let parents: Vec<String> = (0..=MAX_PARENTS).map(|n| format!("t{n:04}")).collect();
    let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
    made.push(make("over".to_owned(), &parents, 2, json!({ "kind": "checkpoint" })));
    made.push(make("just".to_owned(), &parents[1..], 2, json!({ "kind": "checkpoint" })));
    let roster = resolve(&group(), &operations(&json!(made)));
    assert_eq!(names(&roster.rejected), ["over"]);
    // One after the other: the 513th has 512 of its writer's in its past, and is refused for ever, not void.
    let mut made = world(&[]);
    for n in 0..=MAX_EFFECTIVE {
        let parent = if n == 0 { "g".to_owned() } else { format!("s{:04}", n - 1) };
        let title = json!({ "kind": "info", "field": 1, "value": format!("{n}") });
        made.push(make(format!("s{n:04}"), &[&parent], n as u64 + 1, title));
    }
    let roster = resolve(&group(), &operations(&json!(made)));
    assert_eq!((names(&roster.rejected), roster.void.len()), (vec!["s0512".to_owned()], 0));
}
