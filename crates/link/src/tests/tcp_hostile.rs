//! Peers over TCP that break the rules, by name. Whatever they send, what a node holds for them is bounded, whoever is to blame is
//! blamed, and nobody else notices.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::stream::{Class, Goodbye};
use weir_base::{Fault, Instant, KIB, LinkId, Rng, StreamKey};
use weir_libp2p::connection::{self, Connection, INPUT_MAX, Setup};
use weir_libp2p::multistream;
use weir_libp2p::noise::Identity;
use weir_libp2p::yamux;

use super::harness::{config, keypair, start};
use crate::{Config, DownReason, Drain, Event, HostChange, Links, PipeChange, PipeId, Read};

const SECOND: Duration = Duration::from_secs(1);

/// A node, and the byte streams of whoever connects to it.
pub(super) struct Victim {
    pub(super) now: Instant,
    pub(super) links: Links,
    pipes: u64,
    pub(super) events: Vec<Event>,
    sent: Vec<(PipeId, BytesMut)>,
}

impl Victim {
    pub(super) fn new(config: Config) -> Self {
        let mut links = Links::new(config, Arc::new(keypair(0)), [1; 32], start()).unwrap();
        links.handle_host(Instant::ZERO, HostChange::Pipes);
        Self { now: Instant::ZERO, links, pipes: 0, events: Vec::new(), sent: Vec::new() }
    }

    pub(super) fn accept(&mut self, address: [u8; 4]) -> PipeId {
        let pipe = PipeId(self.pipes * 2 + 1);
        self.pipes += 1;
        let remote = SocketAddr::from((address, 4001));
        self.links.handle_pipe(self.now, pipe, PipeChange::Accepted { remote });
        self.work();
        pipe
    }

    /// Gives it as much as it takes.
    fn give(&mut self, pipe: PipeId, mut bytes: &[u8]) {
        let mut lent = vec![0; INPUT_MAX];
        let mut taken = 1;
        while taken > 0 {
            taken = 0;
            self.links.read_pipe(self.now, pipe, &mut lent, &mut |memory| {
                taken = memory.len().min(bytes.len());
                let (now, later) = bytes.split_at(taken);
                memory[..taken].copy_from_slice(now);
                bytes = later;
                taken
            });
        }
    }

    /// Bytes that it can take at once.
    fn room(&mut self, pipe: PipeId) -> usize {
        let mut room = 0;
        self.links.read_pipe(self.now, pipe, &mut vec![0; INPUT_MAX], &mut |memory| {
            room = memory.len();
            0
        });
        room
    }

    /// What it has to send, by byte stream.
    fn drain(&mut self) -> Vec<(PipeId, BytesMut)> {
        self.work();
        std::mem::take(&mut self.sent)
    }

    fn work(&mut self) {
        let mut out = BytesMut::new();
        while let Some(event) = self.links.poll_event(Drain::All) {
            self.events.push(event);
        }
        while let Some(transmit) = self.links.poll_pipe(self.now, &mut out) {
            self.sent.push((transmit.pipe, out.split()));
        }
        while let Some(event) = self.links.poll_event(Drain::All) {
            self.events.push(event);
        }
        let ledger = self.links.stats().receive;
        assert!(ledger.reserved + ledger.lent <= ledger.total, "{ledger:?}");
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((due, _)) = self.links.poll_timeout().filter(|(due, _)| *due <= until) {
            self.now = self.now.max(due);
            self.links.handle_timeout(self.now);
            self.work();
        }
        self.now = until;
    }

    pub(super) fn closed(&self, pipe: PipeId) -> bool {
        self.events.iter().any(|event| matches!(event, Event::ClosePipe(closed) if *closed == pipe))
    }

    fn down(&self) -> Vec<DownReason> {
        let reason =
            |event: &Event| if let Event::Down { reason, .. } = event { Some(*reason) } else { None };
        self.events.iter().filter_map(reason).collect()
    }

    fn blamed(&self) -> Vec<Fault> {
        let fault = |event: &Event| if let Event::Blame { fault, .. } = event { Some(*fault) } else { None };
        self.events.iter().filter_map(fault).collect()
    }

    fn opened(&self) -> Vec<StreamKey> {
        let key = |event: &Event| if let Event::Opened { key, .. } = event { Some(*key) } else { None };
        self.events.iter().filter_map(key).collect()
    }

    fn link(&self) -> LinkId {
        let up = |event: &Event| if let Event::Up { link, .. } = event { Some(*link) } else { None };
        self.events.iter().find_map(up).unwrap()
    }
}

/// A peer that completes its handshake and then does what it likes with the muxer.
pub(super) struct Peer {
    pub(super) conn: Connection,
    pipe: PipeId,
    waits: VecDeque<u8>, // sent, and not taken by the victim
    resets: Vec<(u32, u32)>,
    given: usize, // bytes that the victim took
}

impl Peer {
    pub(super) fn new(victim: &Victim, number: u8, pipe: PipeId) -> Self {
        let identity = Identity::new(&keypair(number.into()), &mut Rng::new([number; 32]));
        let mut setup = Setup::new(Arc::new(identity)).unwrap();
        setup.yamux.max_outbound = 100_000;
        let conn = Connection::dial(Arc::new(setup), None, Rng::new([number + 1; 32]), victim.now).unwrap();
        Self { conn, pipe, waits: VecDeque::new(), resets: Vec::new(), given: 0 }
    }

    fn linked(victim: &mut Victim, number: u8) -> Self {
        let pipe = victim.accept([100 + number, number, 2, 1]);
        let mut peer = Self::new(victim, number, pipe);
        peer.talk(victim);
        assert!(peer.conn.is_up());
        peer
    }

    /// Everything both sides have to say goes to and fro, as far as the victim reads.
    pub(super) fn talk(&mut self, victim: &mut Victim) {
        loop {
            let mut out = BytesMut::new();
            while self.conn.poll_transmit(victim.now, &mut out) {}
            self.waits.extend(out.iter());
            let room = victim.room(self.pipe).min(self.waits.len());
            let piece: Vec<u8> = self.waits.drain(..room).collect();
            self.given += piece.len();
            if !piece.is_empty() {
                victim.give(self.pipe, &piece);
            }
            let answers = victim.drain();
            let quiet = piece.is_empty() && answers.is_empty();
            for (_, bytes) in answers.into_iter().filter(|(pipe, _)| *pipe == self.pipe) {
                self.conn.received(victim.now, bytes);
            }
            while let Some(event) = self.conn.poll_event() {
                if let connection::Event::Muxer(yamux::Event::Reset(id, code)) = event {
                    self.resets.push((id, code));
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn open(&mut self, victim: &Victim, first: &[u8]) -> u32 {
        let muxer = self.conn.muxer().unwrap();
        let id = muxer.open(victim.now).unwrap();
        muxer.write(id, &mut Bytes::copy_from_slice(first));
        id
    }
}

/// A token of multistream-select.
fn token(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len() + 1).unwrap()], text.as_bytes(), b"\n"].concat()
}

fn named(name: &str) -> Vec<u8> {
    [token(multistream::HEADER), token(name)].concat()
}

#[test]
fn handshakes_cut_at_every_byte_leave_nothing() {
    let mut victim = Victim::new(config());
    let mut flights = Vec::new();
    let pipe = victim.accept([192, 0, 2, 1]);
    let mut peer = Peer::new(&victim, 3, pipe);
    let mut first = BytesMut::new();
    while peer.conn.poll_transmit(victim.now, &mut first) {}
    flights.extend_from_slice(&first);
    for cut in 0..=flights.len() {
        let pipe = victim.accept([192, 0, 2, 2]);
        victim.give(pipe, &flights[..cut]);
        victim.drain();
        victim.links.handle_pipe(victim.now, pipe, PipeChange::Closed);
        victim.drain();
    }
    // The second flight is cut behind an answer that belongs to it.
    let mut whole = 0;
    for cut in 0..400 {
        let pipe = victim.accept([192, 0, 2, 3]);
        let mut peer = Peer::new(&victim, 3, pipe);
        let mut out = BytesMut::new();
        while peer.conn.poll_transmit(victim.now, &mut out) {}
        victim.give(pipe, &out.split());
        for (_, answer) in victim.drain() {
            peer.conn.received(victim.now, answer);
        }
        while peer.conn.poll_transmit(victim.now, &mut out) {}
        victim.give(pipe, &out[..cut.min(out.len())]);
        victim.drain();
        victim.links.handle_pipe(victim.now, pipe, PipeChange::Closed);
        victim.drain();
        whole += usize::from(cut >= out.len());
    }
    assert!(whole > 0, "the last ones are whole");
    victim.pass(SECOND * 11);
    let stats = victim.links.stats();
    assert_eq!((stats.half_open, stats.links, stats.inbound), (0, 0, 0));
    assert!(victim.blamed().is_empty(), "whoever is not known is not blamed");
}

#[test]
fn five_thousand_silent_connections_hold_no_more_places_than_there_are() {
    let config = config();
    let most = u64::from(config.admission.max_half_open);
    let mut victim = Victim::new(config);
    let honest = [198, 51, 100, 7];
    for number in 0..5_000_u16 {
        let [high, low] = number.to_be_bytes();
        victim.accept([203, high, low, 1]);
        assert!(victim.links.stats().half_open <= most);
    }
    let pipe = victim.accept(honest);
    let mut peer = Peer::new(&victim, 5, pipe);
    peer.talk(&mut victim);
    assert!(peer.conn.is_up(), "an honest peer gets in beside them");
    victim.pass(SECOND * 11);
    assert_eq!(victim.links.stats().half_open, 0);
    let closed = victim.events.iter().filter(|event| matches!(event, Event::ClosePipe(_))).count();
    assert_eq!(closed, 5_000, "the host is told to close each of them");
}

#[test]
fn a_handshake_a_byte_a_second_ends_at_the_deadline() {
    let mut victim = Victim::new(config());
    let pipe = victim.accept([192, 0, 2, 1]);
    let mut peer = Peer::new(&victim, 3, pipe);
    let mut first = BytesMut::new();
    while peer.conn.poll_transmit(victim.now, &mut first) {}
    for byte in first.iter().take(12) {
        victim.give(pipe, &[*byte]);
        victim.drain();
        victim.pass(SECOND);
    }
    assert!(victim.closed(pipe));
    assert_eq!(victim.links.stats().half_open, 0);
}

#[test]
fn streams_without_a_name_are_refused_beyond_their_limit_and_reset_in_time() {
    let mut victim = Victim::new(config());
    let mut peer = Peer::linked(&mut victim, 3);
    let honest = Peer::linked(&mut victim, 4);
    let silent: Vec<u32> = (0..200).map(|_| peer.open(&victim, &token(multistream::HEADER))).collect();
    peer.talk(&mut victim);
    assert!(victim.opened().is_empty());
    let refused = |peer: &Peer, code: u32| peer.resets.iter().filter(|(_, of)| *of == code).count();
    assert_eq!(refused(&peer, yamux::code::LIMIT), silent.len() - 64, "64 may be undecided");
    victim.pass(SECOND * 9);
    peer.talk(&mut victim);
    assert_eq!(refused(&peer, 3), 0);
    victim.pass(SECOND * 2);
    peer.talk(&mut victim);
    assert_eq!(refused(&peer, 3), 64, "each has 10 s");
    let id = peer.open(&victim, &named("/test/8"));
    peer.talk(&mut victim);
    assert_eq!(victim.opened().len(), 1, "their places are free again ({id})");
    assert!(victim.blamed().is_empty() && victim.down().is_empty());
    drop(honest);
}

#[test]
fn proposals_without_end_and_malformed_ones_end_the_link_with_blame() {
    let proposals: Vec<u8> = (0..200).flat_map(|number| token(&format!("/no/{number}"))).collect();
    let endless = [token(multistream::HEADER), proposals].concat();
    let malformed = [token(multistream::HEADER), vec![0xff; 10]].concat();
    for (first, fault) in [(endless, multistream::TOO_MANY), (malformed, multistream::BAD_TOKEN)] {
        let mut victim = Victim::new(config());
        let mut peer = Peer::linked(&mut victim, 3);
        let _honest = Peer::linked(&mut victim, 4);
        peer.open(&victim, &first);
        peer.talk(&mut victim);
        assert_eq!(victim.blamed(), vec![fault]);
        assert_eq!(victim.down(), vec![DownReason::Fault(fault)], "and no other link ends");
    }
}

#[test]
fn floods_of_streams_end_the_link_and_hold_nothing() {
    let mut victim = Victim::new(config());
    let mut peer = Peer::linked(&mut victim, 3);
    let mut rounds = 0;
    while victim.down().is_empty() && rounds < 100 {
        let ids: Vec<u32> = (0..50).map(|_| peer.open(&victim, &named("/test/8"))).collect();
        peer.talk(&mut victim);
        for id in ids {
            peer.conn.muxer().unwrap().reset(id, 0);
        }
        peer.talk(&mut victim);
        rounds += 1;
    }
    assert_eq!(victim.blamed(), vec![yamux::STORM]);
    assert_eq!(victim.links.stats().links, 0);
    assert_eq!(victim.links.stats().receive.lent, 0);
}

#[test]
fn streams_without_a_name_that_is_served_are_a_storm_beyond_their_rate() {
    let foreign = named("/no/such/protocol");
    let silent = token(multistream::HEADER);
    // Of those that do not end 64 may be undecided, and are no storm.
    for (first, ends, beyond) in
        [(&foreign, true, 0), (&foreign, false, 64), (&silent, true, 0), (&silent, false, 64)]
    {
        let mut victim = Victim::new(config());
        let mut peer = Peer::linked(&mut victim, 3);
        let _honest = Peer::linked(&mut victim, 4);
        victim.pass(SECOND); // the first ping counts, too
        let mut open = |victim: &mut Victim, count: usize| {
            for _ in 0..count {
                let id = peer.open(victim, first);
                if ends {
                    peer.conn.muxer().unwrap().finish(id);
                }
            }
            peer.talk(victim);
        };
        (0..(1_000 + beyond) / 8).for_each(|_| open(&mut victim, 8));
        assert_eq!((victim.blamed(), victim.down()), (vec![], vec![]), "ends: {ends}, {beyond} beyond");
        open(&mut victim, 1);
        assert_eq!(victim.blamed(), vec![yamux::STORM]);
        assert_eq!(victim.down(), vec![DownReason::Fault(yamux::STORM)], "and no other link ends");
    }
}

#[test]
fn what_a_peer_sends_and_nobody_reads_is_bounded_by_the_window_and_one_record() {
    let mut victim = Victim::new(config());
    let mut peer = Peer::linked(&mut victim, 3);
    let flood = vec![7; 60 * KIB];
    let ids: Vec<u32> = (0..60).map(|_| peer.open(&victim, &named("/test/8"))).collect();
    peer.talk(&mut victim);
    assert_eq!(victim.opened().len(), 60);
    let before = peer.given;
    for _ in 0..20 {
        for id in &ids {
            peer.conn.muxer().unwrap().write(*id, &mut Bytes::copy_from_slice(&flood));
        }
        peer.talk(&mut victim);
    }
    assert!(peer.waits.len() > 1024 * KIB, "the rest waits at the peer");
    assert_eq!(victim.room(peer.pipe), 0, "nothing more is read");
    let link = victim.link();
    let window = victim.links.link(link).unwrap().stats().window;
    assert_eq!(window, (64 + 256) * KIB as u64, "the base window, and what one stream may send");
    let taken = (peer.given - before) as u64;
    let most = window + yamux::LOW as u64 + 8 * KIB as u64; // headers of frames and records are taken, too
    assert!(taken <= most, "{taken} bytes, decrypted or not");
    let (keys, now) = (victim.opened(), victim.now);
    let mut held = 0;
    for key in &keys {
        while let Read::Data(chunk) = victim.links.link(link).unwrap().read(now, key.stream, usize::MAX) {
            held += chunk.len() as u64;
        }
    }
    assert!(held <= window + yamux::LOW as u64, "{held} bytes were held");
    peer.talk(&mut victim);
    let found = victim.links.link(link).unwrap();
    let goes_on = keys.iter().any(|key| matches!(found.read(now, key.stream, 9), Read::Data(_)));
    assert!(goes_on, "what was read made room");
    assert!(victim.blamed().is_empty());
}

#[test]
fn a_peer_that_reads_nothing_holds_no_more_than_its_credit_and_the_classes_queues() {
    let mut victim = Victim::new(config());
    let peer = Peer::linked(&mut victim, 3);
    let link = victim.link();
    victim.links.handle_pipe(victim.now, peer.pipe, PipeChange::Blocked);
    let now = victim.now;
    let flood = Bytes::from(vec![5; 64 * KIB]);
    let mut written = 0;
    for _ in 0..100 {
        let found = victim.links.link(link).unwrap();
        let Ok(stream) = found.open(now, weir_base::ProtocolId(8), Class::Pool) else { break };
        let mut rope = weir_base::Rope::new();
        rope.push(flood.slice(..found.room(stream).min(flood.len())));
        written += rope.len();
        found.write(now, stream, &mut rope);
        assert!(victim.drain().is_empty(), "nothing is given while the system takes nothing");
    }
    assert_eq!(written, 64_800, "one class' queue, which fills a record");
    victim.pass(SECOND * 31);
    assert_eq!(victim.down(), vec![DownReason::Lost], "no answer to a ping");
}

#[test]
fn a_downed_links_byte_stream_closes_at_the_peers_end_in_time_or_for_newer_ones() {
    let mut victim = Victim::new(config());
    let lost = |victim: &mut Victim, number: u8| {
        let before = victim.down().len();
        let mut peer = Peer::linked(victim, number);
        let up = |event: &Event| if let Event::Up { link, .. } = event { Some(*link) } else { None };
        let link = victim.events.iter().rev().find_map(up).unwrap();
        let now = victim.now;
        victim.links.link(link).unwrap().close(now, Goodbye::Shutdown);
        peer.talk(victim);
        assert_eq!(victim.down().len(), before + 1, "all was said");
        peer.pipe
    };
    let ended = lost(&mut victim, 3);
    assert!(!victim.closed(ended), "what was said is on its way");
    assert!(victim.room(ended) > 0, "what the peer still says is read and dropped");
    victim.links.handle_pipe(victim.now, ended, PipeChange::Finished);
    victim.work();
    assert!(victim.closed(ended));
    let late = lost(&mut victim, 4);
    victim.pass(SECOND * 49 / 10);
    assert!(!victim.closed(late));
    victim.pass(SECOND / 5);
    assert!(victim.closed(late), "5 s");
    let pipes: Vec<PipeId> = (5..70).map(|number| lost(&mut victim, number)).collect();
    let closed = |victim: &Victim, index: usize| victim.closed(pipes[index]);
    assert_eq!((closed(&victim, 0), closed(&victim, 1)), (true, false), "64 wait, and the oldest goes");
}

/// A peer that answers and breaks off at once: both are read from the socket in one go.
#[test]
fn a_reset_in_one_piece_with_the_answer_is_told_with_its_code_and_not_as_a_refusal() {
    let mut victim = Victim::new(config());
    let mut peer = Peer::linked(&mut victim, 3);
    let (link, now) = (victim.link(), victim.now);
    let stream = victim.links.link(link).unwrap().open(now, weir_base::ProtocolId(8), Class::Pool).unwrap();
    let mut asked = false;
    for (_, bytes) in victim.drain() {
        peer.conn.received(now, bytes);
    }
    let mut out = BytesMut::new();
    while let Some(event) = peer.conn.poll_event() {
        let connection::Event::Muxer(yamux::Event::Opened(id)) = event else { continue };
        let muxer = peer.conn.muxer().unwrap();
        muxer.accept(id);
        muxer.write(id, &mut Bytes::from(named("/test/8")));
        while peer.conn.poll_transmit(now, &mut out) {}
        peer.conn.muxer().unwrap().reset(id, 4711);
        while peer.conn.poll_transmit(now, &mut out) {}
        asked = true;
    }
    assert!(asked);
    victim.give(peer.pipe, &out);
    let key = StreamKey { link, stream };
    victim.work();
    assert!(victim.events.iter().any(|event| matches!(event, Event::Stopped(of, 4711) if *of == key)));
    assert!(matches!(victim.links.link(link).unwrap().read(now, stream, 9), Read::Reset(4711)));
}
