//! Attacks on operations of groups: what is not its author's.

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kuvert_protocol::group::operation::{Context, MAX_VALUE_BYTES, SignedOperation, UnverifiedOperation};
use kuvert_protocol::group::roster::{Kind, Operation, OperationId, Role, resolve};
use kuvert_protocol::prelude::*;
use kuvert_types::limits::MAX_DEVICES;
use kuvert_types::{AccountId, Address, DeviceCertificate, DeviceId};

struct Person {
    account: AccountSecret,
    device: DeviceSecrets,
    certificate: DeviceCertificate,
}

impl Person {
    fn new(number: u8) -> Self {
        let rng = &mut UnwrapErr(SysRng);
        let (account, device) = (AccountSecret::generate(rng), DeviceSecrets::generate(rng));
        let address = Address { account: AccountId::from_bytes([number; 16]), device: DeviceId::PRIMARY };
        let certificate = device.certify(&account, address);
        Self { account, device, certificate }
    }

    fn id(&self) -> AccountId {
        self.certificate.address().account
    }

    fn operation(&self, kind: Kind, parents: &[OperationId], lamport: u64, stint: Option<OperationId>) -> Operation {
        let device = (!matches!(kind, Kind::Cut { .. })).then_some(DeviceId::PRIMARY);
        let id = OperationId::from_bytes([0; 32]);
        Operation { id, parents: parents.to_vec(), lamport, author: self.id(), device, stint, kind }
    }

    fn sign(&self, group: OperationId, operation: Operation, detail: [u8; 32]) -> SignedOperation {
        let context = Context { group, device_list: [7; 32], detail };
        SignedOperation::sign(operation, context, &self.device).unwrap()
    }
}

#[test]
fn operations_of_another_device_account_or_group_do_not_verify() {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let none = OperationId::from_bytes([0; 32]);
    let create = alice.operation(Kind::Create { key: alice.account.public() }, &[], 0, None);
    let create = alice.sign(none, create, [1; 32]);
    let group = create.operation().id;
    assert_eq!(create.context().group, group);
    let title = Kind::Info { field: 1, value: b"round".to_vec() };
    let title = alice.sign(group, alice.operation(title, &[group], 1, Some(group)), [0; 32]);
    let encoded = title.encode();
    let decode = |bytes: &[u8]| UnverifiedOperation::decode(bytes).unwrap();
    assert_eq!(decode(&encoded).verify(&alice.certificate).unwrap(), title);

    // Bob's certificate; one of another device; one that Bob's key has for Alice's address.
    assert!(decode(&encoded).verify(&bob.certificate).is_err());
    let second = Address { account: alice.id(), device: DeviceId::new(2).unwrap() };
    let of = |device: &DeviceSecrets, address| device.certify(&alice.account, address);
    assert!(decode(&encoded).verify(&of(&alice.device, second)).is_err());
    assert!(decode(&encoded).verify(&of(&bob.device, alice.certificate.address())).is_err());
    // Every byte is signed: group, parents, time, author, stint and value.
    for at in 0..encoded.len() {
        let mut changed = encoded.clone();
        changed[at] ^= 1;
        let refused =
            UnverifiedOperation::decode(&changed).is_ok_and(|operation| operation.verify(&alice.certificate).is_ok());
        assert!(!refused, "byte {at}");
    }
    // The account key signs cuts, and a device signs none.
    let cut = alice.operation(Kind::Cut { devices: vec![DeviceId::PRIMARY] }, &[group], 1, None);
    let context = Context { group, device_list: [7; 32], detail: [8; 32] };
    let signed = SignedOperation::sign_cut(cut.clone(), context, &alice.account).unwrap();
    let decoded = decode(&signed.encode());
    assert!(decoded.clone().verify_cut(&alice.account.public()).is_ok());
    assert!(decoded.clone().verify_cut(&bob.account.public()).is_err());
    assert!(decoded.verify(&alice.certificate).is_err());
    assert!(SignedOperation::sign(cut, context, &alice.device).is_err());
    assert!(decode(&encoded).verify_cut(&alice.account.public()).is_err());
}

#[test]
fn every_operation_is_read_as_it_was_signed_up_to_its_bounds() {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let group = OperationId::from_bytes([9; 32]);
    let grant = |role| Kind::Grant { account: bob.id(), key: bob.account.public(), role };
    let info = |len| Kind::Info { field: 1, value: vec![7; len] };
    let mut kinds: Vec<Kind> = [Role::Owner, Role::Admin, Role::Member].map(grant).to_vec();
    kinds.extend([info(0), info(MAX_VALUE_BYTES), Kind::Checkpoint, Kind::Close, Kind::Leave, Kind::Resign]);
    kinds.extend([Kind::Remove { account: bob.id() }, Kind::Demote { account: bob.id() }]);
    for kind in kinds {
        let signed = alice.sign(group, alice.operation(kind.clone(), &[group], 1, Some(group)), [0; 32]);
        let read = UnverifiedOperation::decode(&signed.encode()).unwrap().verify(&alice.certificate).unwrap();
        assert_eq!(read.operation().kind, kind);
        assert_eq!(read, signed);
    }
    let too_long = alice.operation(info(MAX_VALUE_BYTES + 1), &[group], 1, Some(group));
    let context = Context { group, device_list: [7; 32], detail: [0; 32] };
    assert!(SignedOperation::sign(too_long, context, &alice.device).is_err());

    let device = |number| DeviceId::new(number).unwrap();
    let cut = |devices: Vec<DeviceId>| {
        let operation = alice.operation(Kind::Cut { devices }, &[group], 1, None);
        SignedOperation::sign_cut(operation, context, &alice.account)
    };
    let all: Vec<DeviceId> = (1..=MAX_DEVICES as u32).map(device).collect();
    let signed = cut(all.clone()).unwrap();
    let read = UnverifiedOperation::decode(&signed.encode()).unwrap().verify_cut(&alice.account.public()).unwrap();
    assert_eq!(read.operation().kind, Kind::Cut { devices: all.clone() });
    // One set of devices has one form: none twice, and in their order.
    let one_more = [&all[..], &[device(MAX_DEVICES as u32 + 1)]].concat();
    for devices in [vec![], vec![device(2), device(2)], vec![device(2), device(1)], one_more] {
        assert!(cut(devices.clone()).is_err(), "{devices:?}");
    }
}

#[test]
fn signed_operations_make_a_roster() {
    let (alice, bob, carol) = (Person::new(1), Person::new(2), Person::new(3));
    let none = OperationId::from_bytes([0; 32]);
    let create = alice.operation(Kind::Create { key: alice.account.public() }, &[], 0, None);
    let create = alice.sign(none, create, [1; 32]);
    let group = create.operation().id;
    let grant = |person: &Person, role| Kind::Grant { account: person.id(), key: person.account.public(), role };
    let bob_in = alice.sign(group, alice.operation(grant(&bob, Role::Admin), &[group], 1, Some(group)), [0; 32]);
    let stint = bob_in.operation().id;
    let carol_in = bob.sign(group, bob.operation(grant(&carol, Role::Member), &[stint], 2, Some(stint)), [0; 32]);
    // Alice removes Bob without having seen whom he added; Bob removes Alice at the same time.
    let out = alice.sign(group, alice.operation(Kind::Remove { account: bob.id() }, &[stint], 2, Some(group)), [0; 32]);
    let revenge =
        bob.sign(group, bob.operation(Kind::Remove { account: alice.id() }, &[stint], 2, Some(stint)), [0; 32]);
    let all: Vec<Operation> =
        [&revenge, &out, &carol_in, &bob_in, &create].iter().map(|signed| signed.operation().clone()).collect();
    let roster = resolve(&group, &all);
    assert_eq!(roster.members.keys().collect::<Vec<_>>(), [&alice.id()]);
    assert_eq!(roster.members[&alice.id()].key, alice.account.public());
    assert_eq!(roster.void.len(), 2);
    assert_eq!(resolve(&group, &all[2..]).members.len(), 3, "before they parted");
}
