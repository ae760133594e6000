//! The registry of transports. To add one: its folder, its module in `lib.rs`, and its endpoint here.
//!
//! What a build has is decided here and in the list of modules alone: in a browser there is no QUIC, and no TLS for byte streams.

use std::sync::Arc;

use weir_base::UnixTime;
use weir_base::identity::Keypair;
use weir_base::multiaddr::Transport;

use crate::carrier::EndpointId;
use crate::endpoint::{Context, Endpoint, Input};
use crate::frames::Wires;
use crate::{Config, LimitError};

#[cfg(not(target_family = "wasm"))]
#[path = "transports/native.rs"]
mod build;
#[cfg(target_family = "wasm")]
#[path = "transports/portable.rs"]
mod build;

pub use build::Anchor;

/// What the host's origin of time is, on the other clocks. Both are read by the host at its `Instant::ZERO`.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The standard library's monotonic clock; QUIC's state machine counts in it.
    pub anchor: Anchor,
    /// Wall time, for certificates and tokens.
    pub wall: UnixTime,
}

/// One endpoint for each transport.
pub(crate) struct Endpoints(Vec<Box<dyn Endpoint>>);

impl Endpoints {
    /// All of this build. Addresses are dialled in their order. `seed` decides every random choice.
    pub(crate) fn new(
        config: &Arc<Config>,
        keypair: &Arc<Keypair>,
        seed: [u8; 32],
        start: Start,
    ) -> Result<Self, LimitError> {
        let mut all = Self(Vec::new());
        all.add(Wires::new(all.next_id()));
        build::add_quic(&mut all, config, keypair, seed, start)?;
        all.add(crate::tcp::Tcp::new(all.next_id(), config, keypair, seed, start.wall, build::make_tls)?);
        Ok(all)
    }

    /// The place of the one that is added next; its links name it by this.
    pub(crate) fn next_id(&self) -> EndpointId {
        EndpointId(self.0.len())
    }

    pub(crate) fn add(&mut self, endpoint: impl Endpoint + 'static) {
        self.0.push(Box::new(endpoint));
    }

    /// Puts another one in the place of that which dials a kind of address.
    #[cfg(test)]
    pub(crate) fn replace<E: Endpoint + 'static>(
        &mut self,
        of: Transport,
        make: impl FnOnce(EndpointId) -> E,
    ) {
        let place = self.0.iter().position(|endpoint| endpoint.transport() == Some(of));
        if let Some(place) = place {
            self.0[place] = Box::new(make(EndpointId(place)));
        }
    }

    /// That of a link.
    pub(crate) fn of(&mut self, id: EndpointId) -> Option<&mut dyn Endpoint> {
        Some(self.0.get_mut(id.0)?.as_mut())
    }

    /// That which dials a kind of address.
    pub(crate) fn dialling(&mut self, transport: Transport) -> Option<&mut dyn Endpoint> {
        Some(self.0.iter_mut().find(|endpoint| endpoint.transport() == Some(transport))?.as_mut())
    }

    /// The kinds of addresses that can be dialled, the best first.
    pub(crate) fn transports(&self) -> Vec<Transport> {
        self.0.iter().filter_map(|endpoint| endpoint.transport()).collect()
    }

    /// Hands an input to the endpoint that takes it; returns it where none does.
    pub(crate) fn handle(&mut self, context: &mut Context<'_>, mut input: Input) -> Option<Input> {
        for endpoint in &mut self.0 {
            input = endpoint.handle(context, input)?;
        }
        Some(input)
    }

    /// Each of them.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = &mut Box<dyn Endpoint>> {
        self.0.iter_mut()
    }

    /// When the first of them wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<weir_base::Instant> {
        self.0.iter().filter_map(|endpoint| endpoint.poll_timeout()).min()
    }
}
