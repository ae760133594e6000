//! Memory and turns of requests, over all call channels: what a call machine claims is booked, and what has its turn and finds
//! room is handed over (`docs/spec/call.md`, "Memory").

use weir_base::stream::{Group, Side};
use weir_base::{Instant, LinkId, StreamKey};

use super::machines::Machines;
use super::marks::Marks;
use crate::call::memory::{Hold, Memory};
use crate::call::{Call, Claim, Config};

/// Streams dropped at most to make room for one.
const MAX_VICTIMS: usize = 64;

/// The memory of requests and answers on all call channels, and who waits for some.
#[derive(Debug)]
pub(super) struct Booking {
    memory: Memory,
    held_back: Marks,       // call channels whose next request found no memory
    retry: Option<Instant>, // when those are looked at again at the latest
}

impl Booking {
    /// A budget of `total` bytes.
    pub(super) fn new(total: u64) -> Self {
        Self { memory: Memory::new(total), held_back: Marks::default(), retry: None }
    }

    /// A call channel, by the number of its machine.
    pub(super) fn add_channel(&mut self, index: u16, config: &Config) {
        let (request, answer) = config.largest();
        self.memory.guarantee(index, request, answer);
    }

    pub(super) fn add_link(&mut self, link: LinkId, side: Side, group: Group) {
        self.memory.add(link, side, group);
    }

    pub(super) fn set_share(&mut self, link: LinkId, quarters: u8) {
        self.memory.set_share(link, quarters);
    }

    pub(super) fn remove_link(&mut self, link: LinkId) {
        self.memory.remove(link);
    }

    /// Bytes that requests and answers hold, and their bound.
    pub(super) const fn used(&self) -> (u64, u64) {
        (self.memory.used(), self.memory.total())
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.retry.map(|at| (at, "call memory"))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, machines: &mut Machines) {
        if self.retry.is_some_and(|at| at <= now) {
            self.try_again(machines);
        }
    }

    /// Takes what call machines claim, hands over requests, and looks again at those held back where memory came back.
    pub(super) fn serve(&mut self, now: Instant, machines: &mut Machines) {
        loop {
            while let Some(index) = machines.next_claiming() {
                self.book(now, machines, index);
                self.hand_over(now, machines, index);
                machines.touched(index);
                machines.is_booked(index); // it has just been looked at
            }
            if self.held_back.is_empty() || !self.memory.take_freed() {
                return;
            }
            self.try_again(machines);
        }
    }

    /// Requests that were held back for want of memory get another look.
    fn try_again(&mut self, machines: &mut Machines) {
        self.retry = None;
        while let Some(index) = self.held_back.pop_first() {
            if let Some(call) = machines.call(index) {
                call.try_again();
                machines.touched(index);
            }
        }
    }

    fn book(&mut self, now: Instant, machines: &mut Machines, index: u16) {
        while let Some(claim) = machines.call(index).and_then(Call::poll_claim) {
            match claim {
                Claim::Free(key) => self.memory.free(key),
                Claim::Keep { key, bytes, hold } => self.memory.keep(index, key, bytes, hold),
                Claim::Reserve { key, bytes } => {
                    if !self.make_room(now, machines, index, key, (bytes, Hold::Request))
                        && let Some(call) = machines.call(index)
                    {
                        call.refuse_for_memory(now, key);
                    }
                }
            }
        }
    }

    /// Hands over requests in turn while there is room. When one finds none, each request behind it is tried once, in order.
    fn hand_over(&mut self, now: Instant, machines: &mut Machines, index: u16) {
        while let Some(key) = machines.call(index).and_then(|call| call.next_request()) {
            if self.try_one(now, machines, index, key) {
                continue;
            }
            let behind = machines.call(index).map(|call| call.requests_in_turn()).unwrap_or_default();
            for key in behind {
                if self.try_one(now, machines, index, key) {
                    break; // whose turn it is has changed
                }
            }
        }
        if self.held_back.contains(index) {
            let stalled = self.memory.next_stalled(now);
            self.retry = Some(self.retry.map_or(stalled, |retry| retry.min(stalled)));
        }
    }

    /// Whether a request found room and was handed over; else it is held back.
    fn try_one(&mut self, now: Instant, machines: &mut Machines, index: u16, key: StreamKey) -> bool {
        let Some(want) = machines.call(index).and_then(|call| call.wants(key)) else { return false };
        let room = self.make_room(now, machines, index, key, want);
        let Some(call) = machines.call(index) else { return false };
        if room {
            call.hand_over(now, key);
        } else {
            call.hold_back(key);
            self.held_back.insert(index);
        }
        room
    }

    /// Reserves memory, dropping what others hold above their share where it must. False where there is none.
    fn make_room(
        &mut self,
        now: Instant,
        machines: &mut Machines,
        index: u16,
        key: StreamKey,
        want: (u64, Hold),
    ) -> bool {
        for _ in 0..MAX_VICTIMS {
            let Err(no_room) = self.memory.reserve(now, index, key, want) else { return true };
            let Some((machine, victim)) = no_room.victim else { return false };
            if let Some(call) = machines.call(machine) {
                call.refuse_for_memory(now, victim);
            }
            self.memory.free(victim); // its machine says so later, too
            machines.touched(machine);
        }
        false
    }
}
