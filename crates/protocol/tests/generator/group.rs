//! Operations of groups as they are signed and sent. What sets of them come to is `roster.json`.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use kuvert_types::{AccountId, Address, DecodeError, DeviceId};
use serde_json::json;

use super::{Case, Draws, bytes, check, hex};
use crate::group::operation::{Context, MAX_OPERATION_BYTES, MAX_VALUE_BYTES, SignedOperation, UnverifiedOperation};
use crate::group::roster::{Kind, MAX_PARENTS, Operation, OperationId, Role};
use crate::identity::{AccountSecret, DeviceSecrets};

const NONE: OperationId = OperationId::from_bytes([0; 32]);

fn account(name: &str) -> AccountId {
    AccountId::from_bytes(bytes(name))
}

fn id(name: &str) -> OperationId {
    OperationId::from_bytes(bytes(name))
}

fn operation(kind: Kind, parents: &[OperationId], stint: Option<OperationId>) -> Operation {
    let mut parents = parents.to_vec();
    parents.sort();
    let device = (!matches!(kind, Kind::Cut { .. })).then_some(DeviceId::PRIMARY);
    let lamport = if parents.is_empty() { 0 } else { 5 };
    Operation { id: NONE, parents, lamport, author: account("alice"), device, stint, kind }
}

#[test]
fn vectors_group_operation() {
    let draws = &mut Draws::new("group operation");
    let (alice, device) = (AccountSecret::generate(draws), DeviceSecrets::generate(draws));
    let address = Address { account: account("alice"), device: DeviceId::PRIMARY };
    let certificate = device.certify(&alice, address);
    draws.take();
    let (group, stint) = (id("group"), Some(id("stint")));
    let many: Vec<OperationId> = (0..MAX_PARENTS).map(|n| id(&n.to_string())).collect();
    let devices = vec![DeviceId::new(2).unwrap(), DeviceId::new(7).unwrap()];
    let mut cases = Vec::new();
    let mut encodings = Vec::new();
    for (name, kind, parents, stint, detail) in [
        ("create", Kind::Create { key: alice.public() }, &[][..], None, bytes("nonce")),
        (
            "grant",
            Kind::Grant { account: account("bob"), key: alice.public(), role: Role::Admin },
            &[group],
            Some(group),
            [0; 32],
        ),
        ("remove", Kind::Remove { account: account("bob") }, &many[..2], stint, [0; 32]),
        ("demote", Kind::Demote { account: account("bob") }, &many[..], stint, [0; 32]),
        ("leave", Kind::Leave, &many[..1], None, [0; 32]),
        ("resign", Kind::Resign, &many[..1], None, [0; 32]),
        ("cut", Kind::Cut { devices }, &many[..1], None, bytes("new list")),
        ("info", Kind::Info { field: 1, value: "Große Runde".as_bytes().to_vec() }, &many[..1], stint, [0; 32]),
        ("info without a value", Kind::Info { field: 255, value: Vec::new() }, &many[..1], stint, [0; 32]),
        ("checkpoint", Kind::Checkpoint, &many[..3], stint, bytes("digest")),
        ("close", Kind::Close, &many[..1], stint, [0; 32]),
    ] {
        let operation = operation(kind, parents, stint);
        let context = Context { group, device_list: bytes("device list"), detail };
        let is_cut = operation.device.is_none();
        let signed = if is_cut {
            SignedOperation::sign_cut(operation.clone(), context, &alice).unwrap()
        } else {
            SignedOperation::sign(operation.clone(), context, &device).unwrap()
        };
        let encoded = signed.encode();
        let decoded = UnverifiedOperation::decode(&encoded).unwrap();
        let verified = if is_cut { decoded.verify_cut(&alice.public()) } else { decoded.verify(&certificate) }.unwrap();
        assert_eq!(verified, signed);
        let creates = parents.is_empty();
        let inputs = json!({
            "group": if creates { None } else { Some(hex(group.as_bytes())) },
            "parents": operation.parents.iter().map(|parent| hex(parent.as_bytes())).collect::<Vec<_>>(),
            "lamport": operation.lamport, "author": hex(operation.author.as_bytes()),
            "device": operation.device.map(DeviceId::get), "device_list": hex(context.device_list),
            "stint": stint.map(|stint| hex(stint.as_bytes())), "kind": name.split(' ').next(),
            "body": listed(&operation.kind, &detail),
            "seed": hex(if is_cut { *alice.to_bytes() } else { device.to_bytes()[..32].try_into().unwrap() }),
        });
        let outputs = json!({
            "operation": hex(&encoded), "id": hex(signed.operation().id.as_bytes()),
            "group": hex(signed.context().group.as_bytes()),
        });
        cases.push(Case::new(
            name,
            "An operation, signed by the device, or for a cut by the account key.",
            inputs,
            outputs,
        ));
        encodings.push((name, encoded));
    }
    rejected(&mut cases, &encodings);
    check("group_operation", cases);
}

/// What follows the kind.
fn listed(kind: &Kind, detail: &[u8; 32]) -> serde_json::Value {
    match kind {
        Kind::Create { key } => json!({ "key": hex(key.as_bytes()), "nonce": hex(detail) }),
        Kind::Grant { account, key, role } => json!({
            "account": hex(account.as_bytes()), "key": hex(key.as_bytes()), "role": *role as u8,
        }),
        Kind::Remove { account } | Kind::Demote { account } => json!({ "account": hex(account.as_bytes()) }),
        Kind::Cut { devices } => json!({
            "devices": devices.iter().map(|device| device.get()).collect::<Vec<_>>(), "new_list": hex(detail),
        }),
        Kind::Info { field, value } => json!({ "field": field, "value": hex(value) }),
        Kind::Checkpoint => json!({ "digest": hex(detail) }),
        Kind::Leave | Kind::Resign | Kind::Close => json!({}),
    }
}

fn rejected(cases: &mut Vec<Case>, encodings: &[(&str, Vec<u8>)]) {
    let of = |name: &str| encodings.iter().find(|(other, _)| *other == name).unwrap().1.clone();
    let mut reject = |name: &str, bytes: Vec<u8>, error: DecodeError, reason: &str| {
        assert_eq!(UnverifiedOperation::decode(&bytes).unwrap_err(), error, "{name}");
        cases.push(Case::reject(name, "Must not be decoded.", json!({ "operation": hex(&bytes) }), reason));
    };
    let changed = |name: &str, at: usize, to: &[u8]| {
        let mut bytes = of(name);
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    // Behind version, group and the number of parents.
    let parents = 34;
    // Behind those of an operation with one parent: lamport, author, device, device list, stint.
    let (device, kind) = (parents + 32 + 8 + 16, parents + 32 + 8 + 16 + 4 + 64);
    use DecodeError::{Length, Value, Version};
    reject("version 2", changed("grant", 0, &[2]), Version, "unknown version");
    reject(
        "a creation in a group",
        changed("create", 1, &[1]),
        Value,
        "a creation names no group: its id is the group's",
    );
    reject("17 parents", changed("grant", 33, &[17]), Value, "at most 16");
    reject(
        "no parents but for a creation",
        [&of("grant")[..33], &[0], &of("grant")[66..]].concat(),
        Value,
        "1 to 16 parents",
    );
    let two = of("remove");
    let swapped = [&two[..parents], &two[parents + 32..parents + 64], &two[parents..parents + 32], &two[98..]].concat();
    reject("parents that fall", swapped, Value, "parents rise");
    let same = [&two[..parents + 32], &two[parents..parents + 32], &two[98..]].concat();
    reject("a parent twice", same, Value, "parents rise");
    reject("kind 0", changed("leave", kind, &[0]), Value, "unknown kind");
    reject("kind 11", changed("leave", kind, &[11]), Value, "unknown kind");
    reject("role 3", changed("grant", kind + 1 + 16 + 32, &[3]), Value, "unknown role");
    reject("no device but for a cut", changed("leave", device, &[0; 4]), Value, "the account key signs cuts alone");
    reject("a cut by a device", changed("cut", device, &[0, 0, 0, 1]), Value, "the account key signs cuts");
    reject("a cut of no devices", changed("cut", kind + 1, &[0]), Length, "1 to 16 devices; here bytes are left over");
    reject("a cut of 17 devices", changed("cut", kind + 1, &[17]), Value, "1 to 16 devices");
    reject("a cut of device 0", changed("cut", kind + 2, &[0; 4]), Value, "devices are numbered from 1");
    reject("cut devices that fall", changed("cut", kind + 2, &[0, 0, 0, 9]), Value, "devices rise");
    let long = u16::try_from(MAX_VALUE_BYTES + 1).unwrap().to_be_bytes();
    reject("a value of 1,025 bytes", changed("info", kind + 2, &long), Value, "at most 1,024 bytes");
    let cut = of("close");
    reject("an operation cut short", cut[..cut.len() - 1].to_vec(), Length, "length");
    reject("a byte too many", [&cut[..], &[0]].concat(), Length, "length");
    reject("nothing", Vec::new(), Length, "length");
    assert!(encodings.iter().all(|(_, encoded)| encoded.len() <= MAX_OPERATION_BYTES));
}
