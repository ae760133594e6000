//! A peer whose every byte a test decides. By itself it does nothing; what it offers it can deliver.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use weir_base::codec::{Reader, put_varint};
use weir_base::{LinkId, StreamKey};

use super::super::codec::{self, Entry, Epoch, OfferHead};
use super::super::*;
use super::mesh::{Mesh, id};

pub(super) struct Stranger {
    pub(super) node: usize,
    pub(super) link: LinkId,
    victim: usize,
    next: u64,
    begun: bool,
    items: BTreeMap<u64, Bytes>,
    answered: usize, // bytes of gets that were looked at
    gets: Vec<u64>,
    cancels: Vec<u64>,
    seen: (usize, usize), // gets and cancels told to the test
}

impl Stranger {
    pub(super) fn dial(mesh: &mut Mesh, node: usize, victim: usize) -> Self {
        let link = mesh.link(node, victim, 50);
        Self::new(node, victim, link)
    }

    /// As [`dial`](Self::dial), but the other dials it.
    pub(super) fn dialled(mesh: &mut Mesh, node: usize, victim: usize) -> Self {
        let link = mesh.link(victim, node, 50);
        Self::new(node, victim, link)
    }

    const fn new(node: usize, victim: usize, link: LinkId) -> Self {
        Self {
            node,
            link,
            victim,
            next: 0,
            begun: false,
            items: BTreeMap::new(),
            answered: 0,
            gets: Vec::new(),
            cancels: Vec::new(),
            seen: (0, 0),
        }
    }

    fn lane(&self, mesh: &Mesh, lane: u8) -> Option<StreamKey> {
        let opened = &mesh.nodes[self.node].opened;
        opened.iter().rev().find(|(key, other)| key.link == self.link && *other == lane).map(|(key, _)| *key)
    }

    pub(super) fn send(&self, mesh: &mut Mesh, lane: u8, kind: u64, fields: &[u8]) {
        let Some(key) = self.lane(mesh, lane) else { return };
        let (mut body, mut out) = (BytesMut::new(), BytesMut::new());
        put_varint(&mut body, kind);
        body.extend_from_slice(fields);
        put_varint(&mut out, body.len() as u64);
        out.extend_from_slice(&body);
        mesh.send(self.node, key, &out);
    }

    /// Offers an item as it is.
    pub(super) fn offer(&mut self, mesh: &mut Mesh, bytes: &Bytes) {
        let size = u32::try_from(bytes.len()).unwrap();
        self.claim(mesh, bytes, &id(bytes), size, bytes[0]);
    }

    /// Offers an item under this id, size and summary, and delivers these bytes.
    pub(super) fn claim(&mut self, mesh: &mut Mesh, bytes: &Bytes, id: &[u8; 32], size: u32, summary: u8) {
        let key = mesh.nodes[self.victim].key;
        let index = self.next;
        self.next += 1;
        self.items.insert(index, bytes.clone());
        let summary = Summary::new(&[summary]).unwrap();
        let entry = Entry { index, short: key.key.short(id), size, summary };
        let first = (!self.begun).then_some((0, Epoch([7; 8])));
        let head = OfferHead { first, key: key.number, from: index, to: index + 1 };
        let mut out = BytesMut::new();
        codec::encode_offer_head(&head, &mut out);
        codec::encode_entry(&entry, index, &mut out);
        let kind = if self.begun { codec::OFFER } else { codec::FIRST };
        self.begun = true;
        self.send(mesh, 0, kind, &out);
    }

    /// Offers these items in one message.
    pub(super) fn offer_all(&mut self, mesh: &mut Mesh, items: &[Bytes]) {
        let key = mesh.nodes[self.victim].key;
        let (from, to) = (self.next, self.next + items.len() as u64);
        let first = (!self.begun).then_some((0, Epoch([7; 8])));
        let mut out = BytesMut::new();
        codec::encode_offer_head(&OfferHead { first, key: key.number, from, to }, &mut out);
        for (bytes, index) in items.iter().zip(from..) {
            let size = u32::try_from(bytes.len()).unwrap();
            let summary = Summary::new(&bytes[..1]).unwrap();
            codec::encode_entry(
                &Entry { index, short: key.key.short(&id(bytes)), size, summary },
                index,
                &mut out,
            );
            self.items.insert(index, bytes.clone());
        }
        let kind = if self.begun { codec::OFFER } else { codec::FIRST };
        (self.begun, self.next) = (true, to);
        self.send(mesh, 0, kind, &out);
    }

    /// The peer has opened its stream of gets again: what was asked for on the one before is not answered.
    pub(super) fn reopened(&mut self) {
        (self.answered, self.gets, self.seen) = (0, Vec::new(), (0, 0));
    }

    fn look(&mut self, mesh: &Mesh) {
        let Some(key) = self.lane(mesh, 1) else { return };
        let heard = mesh.nodes[self.node].heard.get(&key).map_or(&[][..], |heard| &heard[..]);
        let mut reader = Reader::new(&heard[self.answered..]);
        while let Ok(message) = reader.prefixed(usize::MAX) {
            let (kind, body) = message.split_first().unwrap();
            let indices = codec::decode_indices(body).map(Result::unwrap);
            match u64::from(*kind) {
                codec::GET => self.gets.extend(indices),
                _ => self.cancels.extend(indices),
            }
            self.answered = heard.len() - reader.rest().len();
        }
    }

    /// What it was asked for since this was last called.
    pub(super) fn asked(&mut self, mesh: &Mesh) -> Vec<u64> {
        self.look(mesh);
        self.gets[self.seen.0.min(self.gets.len())..].to_vec()
    }

    /// How many gets it has answered.
    pub(super) const fn answers(&self) -> usize {
        self.seen.0
    }

    /// What was taken back so far.
    pub(super) fn cancelled(&mut self, mesh: &Mesh) -> Vec<u64> {
        self.look(mesh);
        self.cancels.clone()
    }

    /// Delivers all it was asked for.
    pub(super) fn serve(&mut self, mesh: &mut Mesh) {
        for index in self.asked(mesh) {
            let mut out = BytesMut::new();
            put_varint(&mut out, index);
            out.extend_from_slice(&self.items[&index]);
            self.send(mesh, 1, codec::ITEM, &out);
        }
        self.seen.0 = self.gets.len();
    }

    /// Delivers this item, of which it was asked; also what was looked at before.
    pub(super) fn deliver(&self, mesh: &mut Mesh, index: u64) {
        let mut out = BytesMut::new();
        put_varint(&mut out, index);
        out.extend_from_slice(&self.items[&index]);
        self.send(mesh, 1, codec::ITEM, &out);
    }

    /// Says that all it was asked for is gone.
    pub(super) fn gone(&mut self, mesh: &mut Mesh) {
        for index in self.asked(mesh) {
            let mut out = BytesMut::new();
            codec::encode_indices(std::iter::once(index), &mut out);
            self.send(mesh, 1, codec::GONE, &out);
        }
        self.seen.0 = self.gets.len();
    }
}
