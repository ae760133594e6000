//! The wires of a node: frames in and out. The host connects a wire and vouches for who is at its other end, so a link over
//! one has no handshake.

use litemap::LiteMap;
use weir_base::LinkId;
use weir_base::stream::{Goodbye, LinkInfo};

use super::{Frame, FrameLink};
use crate::carrier::{Carrier, EndpointId, Remote};
use crate::endpoint::{Context, Endpoint, Input};
use crate::event::WireId;
use crate::link::LinkOrigin;
use crate::outputs::Outputs;
use crate::{Event, WireChange};

/// All frame wires.
pub(crate) struct Wires {
    id: EndpointId,
    links: LiteMap<WireId, LinkId>,
    names: LiteMap<LinkId, WireId>, // the same the other way round
    outputs: Outputs,
}

impl Wires {
    pub(crate) fn new(id: EndpointId) -> Self {
        Self { id, links: LiteMap::new(), names: LiteMap::new(), outputs: Outputs::default() }
    }

    fn changed(&mut self, context: &mut Context<'_>, wire: WireId, change: WireChange) {
        match change {
            WireChange::Opened { peer, dialled, group } => {
                let remote = Remote { peer, group };
                let carrier = FrameLink::new(remote, dialled.is_some(), &context.config.streams);
                let origin = dialled.map_or_else(LinkOrigin::inbound, LinkOrigin::dialled);
                let link = context.table.reserve_id();
                context.begin(link, (self.id, Box::new(carrier)), origin);
                if let Some(dial) = dialled {
                    context.dialler.wire_opened(dial, link);
                }
                self.links.insert(wire, link);
                self.names.insert(link, wire);
                context.table.touch_urgently(link); // it is up before its first frame
            }
            WireChange::Closed => {
                let Some(link) = self.links.get(&wire).copied() else { return };
                if let Some((carrier, _)) = context.carrier::<FrameLink>(link) {
                    carrier.wire_closed();
                }
                context.table.touch_urgently(link);
            }
            WireChange::Refused(dial) => {
                context.dialler.wire_failed(context.now, dial, &context.config.dial);
            }
        }
    }

    fn arrived(&mut self, context: &mut Context<'_>, wire: WireId, frame: Frame, len: usize) {
        let Some(link) = self.links.get(&wire).copied() else { return };
        let Some((carrier, mut scope)) = context.carrier::<FrameLink>(link) else { return };
        carrier.handle(&mut scope, frame, len);
        let urgent = carrier.has_report();
        if urgent {
            context.table.touch_urgently(link);
        } else {
            context.table.touch(link);
        }
    }
}

impl Endpoint for Wires {
    fn handle(&mut self, context: &mut Context<'_>, input: Input) -> Option<Input> {
        match input {
            Input::Wire(wire, change) => self.changed(context, wire, change),
            Input::Frame(wire, frame, len) => self.arrived(context, wire, frame, len),
            _ => return Some(input),
        }
        None
    }

    fn join(&mut self, link: LinkId, info: &LinkInfo) {
        self.outputs.join(link, info);
    }

    fn mark(&mut self, link: LinkId) {
        self.outputs.mark(link);
    }

    fn remove(
        &mut self,
        context: &mut Context<'_>,
        link: LinkId,
        _carrier: Box<dyn Carrier>,
        _reason: Goodbye,
    ) {
        self.outputs.remove(link);
        if let Some(wire) = self.names.remove(&link) {
            self.links.remove(&wire);
            context.events.push_back(Event::CloseWire(wire));
        }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Option<(WireId, Frame, usize)> {
        while let Some(link) = self.outputs.next() {
            let wire = self.names.get(&link).copied();
            let Some((wire, (carrier, mut scope))) = wire.zip(context.carrier::<FrameLink>(link)) else {
                self.outputs.idle(link);
                continue;
            };
            let Some((frame, len)) = carrier.next_frame(&mut scope) else {
                self.outputs.idle(link);
                context.table.sent_all(context.now, link);
                continue;
            };
            if carrier.is_over() {
                context.table.touch(link);
            }
            self.outputs.sent(link, len);
            return Some((wire, frame, len));
        }
        None
    }
}
