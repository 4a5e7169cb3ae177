//! What the model test does to a zone, at random.

use nss_k8s_zone::{Address, Endpoint, Family, Port, Protocol, ServiceBody, ServiceKey, Slice};
use proptest::prelude::*;

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    PutNamespace(u8),
    DeleteNamespace(u8),
    PutService(u8, ServiceBody),
    DeleteService(u8),
    PutSlice(u8, u8, Slice),
    DeleteSlice(u8, u8),
    /// Many services at once: the index grows.
    PutMany(u8),
    /// Removes all that [`Operation::PutMany`] put.
    DropMany,
    Advance,
    Reopen,
    Replace,
}

/// Namespaces `n0` to `n3`, services `s0` to `s9` in each of three.
pub(crate) fn key(number: u8) -> ServiceKey {
    ServiceKey::new(&format!("s{}", number / 3), &format!("n{}", number % 3)).unwrap()
}

pub(crate) fn addresses(family: Family, numbers: &[u8]) -> Vec<Address> {
    let of = |number: &u8| match family {
        Family::V4 => Address::v4([10, 0, 0, *number]),
        Family::V6 => Address::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, *number]),
    };
    numbers.iter().map(of).collect()
}

fn body() -> impl Strategy<Value = ServiceBody> {
    let number = prop::collection::btree_set(any::<u8>(), 0..3);
    let port = Port {
        name: "http".to_owned(),
        protocol: Protocol::Tcp,
        number: 80,
    };
    prop_oneof![
        (number.clone(), number).prop_map(move |(four, six)| {
            let four: Vec<u8> = four.into_iter().collect();
            let six: Vec<u8> = six.into_iter().collect();
            let mut own = addresses(Family::V4, &four);
            own.extend(addresses(Family::V6, &six));
            ServiceBody::ClusterIp {
                addresses: own,
                ports: vec![port.clone()],
            }
        }),
        Just(ServiceBody::Headless { ports: vec![] }),
        (0..30_u8).prop_map(|number| ServiceBody::External {
            target: format!("s{}.n{}.svc.cluster.local", number / 3, number % 3),
        }),
        Just(ServiceBody::External {
            target: "www.example.org".to_owned()
        }),
    ]
}

fn slice() -> impl Strategy<Value = Slice> {
    let endpoint = (any::<u8>(), any::<bool>(), 0..4_u8, 0..3_u8);
    let endpoints = prop::collection::btree_map(any::<u8>(), endpoint, 0..40);
    (any::<bool>(), endpoints).prop_map(|(six, endpoints)| {
        let family = if six { Family::V6 } else { Family::V4 };
        let endpoints = endpoints
            .into_iter()
            .map(|(number, (host, ready, named, zone))| Endpoint {
                address: addresses(family, &[number])[0],
                hostname: (named == 0).then(|| format!("host-{}", host % 8)),
                ready,
                shadowed: false,
                topology_zone: (zone > 0).then(|| format!("zone-{zone}")),
            });
        Slice {
            family,
            ports: vec![],
            endpoints: endpoints.collect(),
        }
    })
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Operation::PutNamespace),
        1 => (0..4_u8).prop_map(Operation::DeleteNamespace),
        8 => (0..30_u8, body()).prop_map(|(number, body)| Operation::PutService(number, body)),
        3 => (0..30_u8).prop_map(Operation::DeleteService),
        8 => (0..30_u8, 0..4_u8, slice())
            .prop_map(|(number, id, slice)| Operation::PutSlice(number, id, slice)),
        3 => (0..30_u8, 0..4_u8).prop_map(|(number, id)| Operation::DeleteSlice(number, id)),
        1 => (0..8_u8).prop_map(Operation::PutMany),
        1 => Just(Operation::DropMany),
        4 => Just(Operation::Advance),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Replace),
    ]
}
