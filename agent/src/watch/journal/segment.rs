//! One file of a journal: a header that says whose it is, then records with a checksum each.
//!
//! ```text
//!   "nssk8sw" FORMAT | begins anew: u8 | length: u32 | identity | its CRC-32
//!   length: u32 | CRC-32: u32 | what: u8 | version (postcard) | an object or who it was (postcard)
//! ```
//!
//! Numbers are little-endian. A file ends with a whole record; anything else makes it void.

use crate::objects::Who;
use serde::de::DeserializeOwned;
use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::Path,
};

/// The format of records and of the objects in them, here and wherever else they are sent.
pub(crate) const FORMAT: u8 = 1;

/// The first bytes of a file.
const MAGIC: [u8; 8] = [b'n', b's', b's', b'k', b'8', b's', b'w', FORMAT];

/// A record that is longer is none: an object has 1.5 MB at most in etcd.
const LONGEST: usize = 16 << 20;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The object is there.
    Apply = 1,
    /// The object is gone.
    Delete = 2,
    /// An object is there that could not be read.
    Unreadable = 3,
    /// Nothing happened up to the version.
    Moved = 4,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) what: What,
    /// The version after it; empty within a list.
    pub(crate) version: String,
    /// The object, or who it was; empty for `Moved`.
    pub(crate) object: Vec<u8>,
}

impl Record {
    /// The record without length and checksum.
    pub(crate) fn body(&self) -> io::Result<Vec<u8>> {
        let mut body = vec![self.what as u8];
        body.extend(postcard::to_stdvec(&self.version).map_err(io::Error::other)?);
        body.extend_from_slice(&self.object);
        Ok(body)
    }

    /// Appends the record to a buffer.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let body = self.body()?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        out.extend(length.to_le_bytes());
        out.extend(crc32fast::hash(&body).to_le_bytes());
        out.extend(body);
        Ok(())
    }

    /// Who it is about; `None` for `Moved`.
    pub(crate) fn who(&self) -> Option<Who> {
        (self.what != What::Moved).then(|| prefix(&self.object))?
    }

    /// Reads what [`Record::body`] made.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let (what, rest) = body.split_first()?;
        let what = match what {
            1 => What::Apply,
            2 => What::Delete,
            3 => What::Unreadable,
            4 => What::Moved,
            _ => return None,
        };
        let (version, object) = postcard::take_from_bytes::<String>(rest).ok()?;
        Some(Self {
            what,
            version,
            object: object.to_owned(),
        })
    }
}

/// What the bytes of an object begin with.
fn prefix<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::take_from_bytes(bytes)
        .ok()
        .map(|(value, _)| value)
}

/// Writes a header.
pub(super) fn header(out: &mut Vec<u8>, anew: bool, identity: &str) -> io::Result<()> {
    out.write_all(&MAGIC)?;
    out.push(anew.into());
    let length = u32::try_from(identity.len()).map_err(io::Error::other)?;
    out.extend(length.to_le_bytes());
    out.extend(identity.as_bytes());
    out.extend(crc32fast::hash(identity.as_bytes()).to_le_bytes());
    Ok(())
}

/// Reads a file.
pub(super) struct Reader {
    file: BufReader<File>,
    /// Whether what came before it counts no more.
    pub(super) anew: bool,
}

impl Reader {
    /// Opens a file of this identity; `None`: it is of another one.
    pub(super) fn open(path: &Path, identity: &str) -> io::Result<Option<Self>> {
        let mut file = BufReader::with_capacity(64 << 10, File::open(path)?);
        let mut start = [0; MAGIC.len() + 1];
        file.read_exact(&mut start)?;
        let [magic @ .., anew] = start;
        let mut expected = Vec::new();
        header(&mut expected, anew != 0, identity)?;
        let mut found = vec![0; expected.len() - start.len()];
        file.read_exact(&mut found)?;
        let same = magic == MAGIC && anew <= 1 && expected.ends_with(&found);
        let anew = anew != 0;
        Ok(same.then_some(Self { file, anew }))
    }

    /// The next record; `None` at the end. An error: the file is damaged.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        let mut length = [0; 4];
        if self.file.read(&mut length[..1])? == 0 {
            return Ok(None);
        }
        self.file.read_exact(&mut length[1..])?;
        let mut sum = [0; 4];
        self.file.read_exact(&mut sum)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(damaged());
        }
        let mut body = vec![0; length];
        self.file.read_exact(&mut body)?;
        if crc32fast::hash(&body) != u32::from_le_bytes(sum) {
            return Err(damaged());
        }
        Record::read(&body).map(Some).ok_or_else(damaged)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "damaged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{NamespaceObject, ServiceObject, SliceObject};
    use serde_json::json;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What agents have written is read by the next version. If this fails, objects are kept in
    /// another form: count [`FORMAT`] up, and take the new text over.
    #[test]
    fn objects_are_kept_in_this_form() {
        let namespace = json!({"metadata": {"name": "shop", "resourceVersion": "7",
            "labels": {"tier": "bank"}}});
        let service = json!({"metadata": {"name": "a", "namespace": "shop",
            "labels": {"k8s-app": "kube-dns"}}, "spec": {"type": "ClusterIP",
            "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "externalName": "x.",
            "ports": [{"name": "http", "protocol": "TCP", "port": 80}]}});
        let slice = json!({"metadata": {"name": "a-x", "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "a"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "t"}},
            "addressType": "IPv4", "ports": [], "endpoints": [{"addresses": ["10.0.1.1"],
            "conditions": {"ready": true}, "hostname": "a-0", "zone": "z"}]});
        let namespace: NamespaceObject = serde_json::from_value(namespace).unwrap();
        let service: ServiceObject = serde_json::from_value(service).unwrap();
        let slice: SliceObject = serde_json::from_value(slice).unwrap();
        let kept = [
            postcard::to_stdvec(&namespace).unwrap(),
            postcard::to_stdvec(&service).unwrap(),
            postcard::to_stdvec(&slice).unwrap(),
        ];
        let kept = kept.map(|bytes| hex(&bytes));
        assert_eq!(FORMAT, 1);
        assert_eq!(
            kept,
            [
                "010473686f7000010137010104746965720462616e6b00",
                "010161010473686f7000010001086b7562652d646e7300010109436c75737465724950010831302e302e302e\
                 3101010831302e302e302e310102782e0101010468747470010354435001a001",
                "0103612d78010473686f7000010101610001010174010449507634010101010831302e302e312e3101010101\
                 03612d3001017a0100",
            ]
        );
    }

    #[test]
    fn the_beginning_of_an_object_is_who_it_is() {
        let service = json!({"metadata": {"name": "a", "namespace": "shop",
            "resourceVersion": "9", "labels": {"k8s-app": "x"}}, "spec": {"clusterIP": "None"}});
        let service: ServiceObject = serde_json::from_value(service).unwrap();
        let record = Record {
            what: What::Apply,
            version: "9".to_owned(),
            object: postcard::to_stdvec(&service).unwrap(),
        };
        assert_eq!(record.who(), Some(service.metadata.who()));
    }
}
