//! DNS messages taken apart into text.

use super::{IN_NAMES, Resource, escape};
use crate::wire::kind;
use anyhow::{Context, Result, bail};
use std::net::IpAddr;

/// A cursor on a message.
pub(super) struct Reader<'a> {
    pub(super) message: &'a [u8],
    pub(super) at: usize,
}

impl Reader<'_> {
    fn octet(&mut self) -> Result<u8> {
        let octet = *self.message.get(self.at).context("short message")?;
        self.at += 1;
        Ok(octet)
    }

    pub(super) fn number(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes([self.octet()?, self.octet()?]))
    }

    fn long(&mut self) -> Result<u32> {
        Ok(u32::from(self.number()?) << 16 | u32::from(self.number()?))
    }

    /// A name, compressed or not (RFC 1035 section 4.1.4), as text.
    pub(super) fn name(&mut self) -> Result<String> {
        let mut labels = Vec::new();
        let mut back = None;
        for _ in 0..255 {
            let length = self.octet()?;
            match length {
                0 => {
                    self.at = back.unwrap_or(self.at);
                    return Ok(labels.join(".").to_lowercase());
                }
                0xc0.. => {
                    let low = self.octet()?;
                    back.get_or_insert(self.at);
                    self.at = usize::from(length & 0x3f) << 8 | usize::from(low);
                }
                _ => {
                    let end = self.at + usize::from(length);
                    let label = self.message.get(self.at..end).context("short label")?;
                    labels.push(escape(label, IN_NAMES));
                    self.at = end;
                }
            }
        }
        bail!("a name without an end");
    }

    pub(super) fn resource(&mut self) -> Result<Resource> {
        let owner = self.name()?;
        let kind = self.number()?;
        self.number()?;
        let ttl = self.long()?;
        let length = usize::from(self.number()?);
        let end = self.at + length;
        let data = self.data(kind, end)?;
        self.at = end;
        Ok(Resource {
            owner,
            ttl,
            kind,
            data,
        })
    }

    fn data(&mut self, kind: u16, end: usize) -> Result<String> {
        let raw = self.message.get(self.at..end).context("short data")?;
        Ok(match kind {
            kind::A => IpAddr::from(<[u8; 4]>::try_from(raw)?).to_string(),
            kind::AAAA => IpAddr::from(<[u8; 16]>::try_from(raw)?).to_string(),
            kind::CNAME | kind::PTR | kind::NS => self.name()?,
            kind::SRV => {
                let (priority, weight, port) = (self.number()?, self.number()?, self.number()?);
                format!("{priority} {weight} {port} {}", self.name()?)
            }
            kind::SOA => {
                let (server, mailbox) = (self.name()?, self.name()?);
                self.long()?;
                let rest = [self.long()?, self.long()?, self.long()?, self.long()?];
                let [refresh, retry, expire, minimum] = rest;
                format!("{server} {mailbox} * {refresh} {retry} {expire} {minimum}")
            }
            kind::TXT => {
                let mut strings = Vec::new();
                while self.at < end {
                    let length = usize::from(self.octet()?);
                    let text = self.message.get(self.at..self.at + length);
                    strings.push(format!(
                        "\"{}\"",
                        escape(text.context("short text")?, b"\"\\|")
                    ));
                    self.at += length;
                }
                strings.join(" ")
            }
            _ => {
                let digits: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("\\# {} {digits}", raw.len()).trim_end().into()
            }
        })
    }
}
