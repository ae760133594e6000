//! A peer over TCP of whose bytes each is decided here: it begins a handshake of Noise as it likes, or completes it and then says what it
//! likes to the muxer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use weir_base::identity::Keypair;
use weir_base::{Instant, Rng};
use weir_libp2p::multistream::{self, Names};
use weir_libp2p::noise::{self, Event, Handshake, Identity, Sealer};
use weir_libp2p::yamux;

use crate::host::{ByHand, Heard};

/// What a [`Stranger`] does.
#[derive(Clone, Debug)]
pub enum Conduct {
    /// Says so many bytes of its handshake, and then nothing.
    Cut(usize),
    /// Turns the last bit of this byte of its handshake.
    Damaged(usize),
    /// Says a byte of its handshake a second.
    Slow,
    /// Says these bytes at once, and answers nothing.
    Recorded(Vec<u8>),
    /// Completes its handshake, in which it names this muxer, and then says each of these to it in a record of its own. It answers nothing.
    Says {
        /// The muxer's name.
        muxer: &'static str,
        /// What it says.
        texts: Vec<Vec<u8>>,
        /// Whether it goes on reading behind its handshake.
        reads: bool,
    },
}

/// What a [`Stranger`] said until its handshake was over.
pub type Said = Arc<Mutex<Vec<u8>>>;

/// See the module.
pub struct Stranger {
    identity: Arc<Identity>,
    conduct: Conduct,
    rng: Rng,
    handshake: Option<Handshake>,
    input: BytesMut,
    answered: usize, // bytes of the other side's negotiation that are still to come
    waits: VecDeque<u8>,
    due: Option<Instant>, // of the next byte
    said: Said,
    through: bool,
}

impl Stranger {
    /// Under this key. `rng` decides what is random in its handshake.
    pub fn new(keypair: &Keypair, conduct: Conduct, mut rng: Rng) -> Self {
        Self {
            identity: Arc::new(Identity::new(keypair, &mut rng)),
            conduct,
            rng,
            handshake: None,
            input: BytesMut::new(),
            answered: negotiation().len(),
            waits: VecDeque::new(),
            due: None,
            said: Said::default(),
            through: false,
        }
    }

    /// What it says until its handshake is over, to be looked at afterwards.
    pub fn said(&self) -> Said {
        Arc::clone(&self.said)
    }

    fn begin(&mut self, now: Instant, out: &mut BytesMut) {
        if let Conduct::Recorded(bytes) = &self.conduct {
            return out.extend_from_slice(bytes);
        }
        let muxer = if let Conduct::Says { muxer, .. } = self.conduct { muxer } else { yamux::NAME };
        let (muxers, rng) = (Names::new([muxer]).ok(), self.rng.child("handshake"));
        self.handshake = Handshake::dialer(Arc::clone(&self.identity), None, muxers, rng, now).ok();
        let mut first = BytesMut::from(&negotiation()[..]);
        if let Some(handshake) = &mut self.handshake {
            handshake.poll_transmit(&mut first);
        }
        self.say(now, &first, out);
    }

    fn answer(&mut self, now: Instant, bytes: &[u8], out: &mut BytesMut) {
        let skipped = bytes.len().min(self.answered);
        self.answered -= skipped;
        self.input.extend_from_slice(bytes.get(skipped..).unwrap_or_default());
        let Some(handshake) = &mut self.handshake else { return };
        handshake.received(&mut self.input);
        let mut third = BytesMut::new();
        handshake.poll_transmit(&mut third);
        let done = match handshake.poll_event() {
            Some(Event::Done(secured)) => Some(secured),
            _ => None,
        };
        self.say(now, &third, out);
        if let Some(secured) = done {
            (self.handshake, self.through) = (None, true);
            self.talk(secured.sealer, out);
        }
    }

    /// Says what it has to say to the muxer.
    fn talk(&self, mut sealer: Sealer, out: &mut BytesMut) {
        let Conduct::Says { texts, .. } = &self.conduct else { return };
        for part in texts.iter().flat_map(|text| text.chunks(noise::PLAINTEXT_MAX)) {
            let record = sealer.begin(out);
            out.extend_from_slice(part);
            sealer.seal(out, &record);
        }
    }

    /// Bytes of its handshake, as its conduct has them.
    fn say(&mut self, now: Instant, bytes: &[u8], out: &mut BytesMut) {
        let Ok(mut said) = self.said.lock() else { return };
        let before = said.len();
        said.extend_from_slice(bytes);
        match self.conduct {
            Conduct::Cut(most) => {
                out.extend_from_slice(bytes.get(..most.saturating_sub(before)).unwrap_or(bytes));
            }
            Conduct::Damaged(at) => {
                let start = out.len();
                out.extend_from_slice(bytes);
                let place = at.checked_sub(before).and_then(|at| out.get_mut(start + at));
                place.into_iter().for_each(|byte| *byte ^= 1);
            }
            Conduct::Slow => {
                self.waits.extend(bytes);
                self.due.get_or_insert(now);
            }
            Conduct::Recorded(_) | Conduct::Says { .. } => out.extend_from_slice(bytes),
        }
    }
}

impl ByHand for Stranger {
    fn hear(&mut self, now: Instant, heard: Heard<'_>, out: &mut BytesMut) {
        match heard {
            Heard::Connected => self.begin(now, out),
            Heard::Bytes(bytes) => self.answer(now, bytes, out),
            Heard::End => {}
            Heard::Time => {
                out.extend(self.waits.pop_front());
                self.due = (!self.waits.is_empty()).then(|| now + Duration::from_secs(1));
            }
        }
    }

    fn reads(&self) -> bool {
        !self.through || matches!(self.conduct, Conduct::Says { reads: true, .. })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

/// A token of multistream-select.
pub fn token(text: &str) -> Vec<u8> {
    let mut token = Vec::new();
    weir_base::codec::put_varint(&mut token, text.len() as u64 + 1);
    token.extend_from_slice(text.as_bytes());
    token.push(b'\n');
    token
}

/// How a stream begins that is to speak this protocol.
pub fn named(protocol: &str) -> Vec<u8> {
    [token(multistream::HEADER), token(protocol)].concat()
}

/// What both sides say first where they agree on Noise.
fn negotiation() -> Vec<u8> {
    named(noise::NAME)
}
