//! Memory and turns of requests, over all call channels: what a call machine claims is booked, and what has its turn and finds
//! room is handed over (`docs/spec/call.md`, "Memory").

use super::{Call, Instant, Pull, Shaped, StreamKey};
use crate::call::Claim;
use crate::call::memory::Hold;

/// Streams dropped at most to make room for one.
const MAX_VICTIMS: usize = 64;

impl Pull {
    /// Takes what call machines claim, hands over requests, and looks again at those held back where memory came back.
    pub(super) fn serve_calls(&mut self, now: Instant) {
        loop {
            while let Some(index) = self.claiming.pop_first() {
                self.book(now, index);
                self.hand_over(now, index);
                self.touched(index);
                self.claiming.remove(&index); // it has just been looked at
            }
            if self.held_back.is_empty() || !self.memory.take_freed() {
                return;
            }
            self.try_again();
        }
    }

    /// Requests that were held back for want of memory get another look.
    pub(super) fn try_again(&mut self) {
        self.retry = None;
        for index in std::mem::take(&mut self.held_back) {
            if let Some(call) = self.call(index) {
                call.try_again();
                self.claiming.insert(index);
            }
        }
    }

    fn call(&mut self, index: u16) -> Option<&mut Call> {
        match &mut self.children.get_mut(usize::from(index))?.machine {
            Shaped::Call(call) => Some(call),
            _ => None,
        }
    }

    fn book(&mut self, now: Instant, index: u16) {
        while let Some(claim) = self.call(index).and_then(Call::poll_claim) {
            match claim {
                Claim::Free(key) => self.memory.free(key),
                Claim::Keep { key, bytes, hold } => self.memory.keep(index, key, bytes, hold),
                Claim::Reserve { key, bytes } => {
                    if !self.make_room(now, index, key, (bytes, Hold::Request))
                        && let Some(call) = self.call(index)
                    {
                        call.refuse_for_memory(now, key);
                    }
                }
            }
        }
    }

    fn hand_over(&mut self, now: Instant, index: u16) {
        while let Some((key, bytes)) = self.call(index).and_then(Call::next_request) {
            let room = self.make_room(now, index, key, (bytes, Hold::Handling));
            let Some(call) = self.call(index) else { return };
            if room {
                call.hand_over(now, key);
            } else {
                call.hold_back(key);
                self.held_back.insert(index);
                let stalled = self.memory.next_stalled(now);
                self.retry = Some(self.retry.map_or(stalled, |retry| retry.min(stalled)));
            }
        }
    }

    /// Reserves memory, dropping what others hold above their share where it must. False where there is none.
    fn make_room(&mut self, now: Instant, index: u16, key: StreamKey, want: (u64, Hold)) -> bool {
        for _ in 0..MAX_VICTIMS {
            let Err(no_room) = self.memory.reserve(now, index, key, want) else { return true };
            let Some((machine, victim)) = no_room.victim else { return false };
            if let Some(call) = self.call(machine) {
                call.refuse_for_memory(now, victim);
            }
            self.memory.free(victim); // its machine says so later, too
            self.claiming.insert(machine);
        }
        false
    }
}
