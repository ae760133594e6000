//! How far a connection over QUIC is, and how it ends.

use quinn_proto::ConnectionError;
use weir_base::Fault;
use weir_base::stream::Goodbye;
use weir_libp2p::tls::WRONG_PEER_ALERT;

use crate::carrier::Report;
use crate::event::DownReason;

/// QUIC's error codes for TLS alerts begin here (RFC 9001 §4.8).
const CRYPTO_ERROR: u64 = 0x100;

/// QUIC's own rules were broken.
pub(crate) const BROKE_QUIC: Fault = Fault::misbehaved("broke the rules of QUIC");

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The handshake runs. The flag says whether data may go along with it: out, for a client, in, for a server.
    Handshake { early: bool },
    /// It is confirmed.
    Up,
    /// This side said goodbye: the connection is closed when all that was written is acknowledged.
    Flushing(Goodbye),
    /// This side ends it without waiting.
    Cutting(Goodbye),
    /// It is closed; what the peer sent before can still be read if the peer closed it.
    Closed { by_peer: bool },
}

impl Phase {
    /// Whether it is confirmed, and nobody has said goodbye.
    pub(super) fn is_up(self) -> bool {
        self == Self::Up
    }

    /// Whether the handshake runs and data may go along with it.
    pub(super) fn is_early(self) -> bool {
        self == Self::Handshake { early: true }
    }

    /// Whether the handshake runs and nothing goes along with it: nobody reads yet.
    pub(super) fn is_silent(self) -> bool {
        self == Self::Handshake { early: false }
    }

    /// Whether the peer's streams are taken.
    pub(super) fn takes_streams(self) -> bool {
        matches!(self, Self::Up | Self::Handshake { .. })
    }

    /// Says goodbye: the connection ends once all that was written is delivered. False where it is not up.
    pub(super) fn flush(&mut self, reason: Goodbye) -> bool {
        let up = *self == Self::Up;
        if up {
            *self = Self::Flushing(reason);
        }
        up
    }

    /// Ends it at once: what waits does not go out, but the reason does.
    pub(super) fn cut(&mut self, reason: Goodbye) {
        if !matches!(self, Self::Closed { .. }) {
            *self = Self::Cutting(reason);
        }
    }

    /// The goodbye with which it is to be closed now, if it is time for that. `delivered` says whether all that was written has
    /// arrived.
    pub(super) fn due(self, delivered: impl FnOnce() -> bool) -> Option<Goodbye> {
        match self {
            Self::Flushing(reason) if delivered() => Some(reason),
            Self::Cutting(reason) => Some(reason),
            _ => None,
        }
    }

    /// QUIC has lost the connection: what that is to the link.
    pub(super) fn lost(&mut self, reason: ConnectionError) -> Report {
        let by_peer = matches!(reason, ConnectionError::ApplicationClosed(_));
        let handshake = matches!(self, Self::Handshake { .. });
        *self = Self::Closed { by_peer };
        Report::Lost(match reason {
            ConnectionError::ApplicationClosed(close) => {
                let code = u16::try_from(close.error_code.into_inner()).unwrap_or(u16::MAX);
                DownReason::ByPeer(Goodbye::from_code(code))
            }
            ConnectionError::TransportError(error) => {
                tracing::debug!(%error, "QUIC error");
                if !handshake {
                    return Report::Fault(BROKE_QUIC);
                }
                let wrong_peer = CRYPTO_ERROR + u64::from(u8::from(WRONG_PEER_ALERT));
                if u64::from(error.code) == wrong_peer { DownReason::OtherPeer } else { DownReason::Rejected }
            }
            ConnectionError::VersionMismatch
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::CidsExhausted => DownReason::Rejected,
            ConnectionError::Reset => DownReason::Reset,
            ConnectionError::TimedOut | ConnectionError::LocallyClosed => DownReason::Lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quinn_proto::{ApplicationClose, TransportErrorCode, VarInt};

    use super::*;

    fn broken(code: TransportErrorCode) -> ConnectionError {
        ConnectionError::TransportError(code.into())
    }

    #[test]
    fn goodbye_waits_for_what_was_written_unless_the_link_is_cut() {
        let mut phase = Phase::Handshake { early: true };
        assert!(!phase.flush(Goodbye::Idle) && phase.is_early() && phase.takes_streams());
        phase = Phase::Up;
        assert!(phase.flush(Goodbye::Idle) && !phase.flush(Goodbye::Full));
        assert!(!phase.takes_streams() && !phase.is_silent());
        assert_eq!((phase.due(|| false), phase.due(|| true)), (None, Some(Goodbye::Idle)));
        phase.cut(Goodbye::Fault);
        assert_eq!(phase.due(|| false), Some(Goodbye::Fault), "at once");
        phase = Phase::Closed { by_peer: true };
        phase.cut(Goodbye::Fault);
        assert_eq!((phase, phase.due(|| true)), (Phase::Closed { by_peer: true }, None));
    }

    #[test]
    fn a_broken_rule_is_a_fault_only_after_the_handshake() {
        let alert = TransportErrorCode::crypto(u8::from(WRONG_PEER_ALERT));
        let other = TransportErrorCode::PROTOCOL_VIOLATION;
        for (early, code, report) in [
            (false, alert, Report::Lost(DownReason::OtherPeer)),
            (true, alert, Report::Lost(DownReason::OtherPeer)),
            (false, other, Report::Lost(DownReason::Rejected)),
        ] {
            let mut phase = Phase::Handshake { early };
            assert_eq!(phase.lost(broken(code)), report);
            assert_eq!(phase, Phase::Closed { by_peer: false });
        }
        for code in [alert, other] {
            let mut phase = Phase::Up;
            assert_eq!(phase.lost(broken(code)), Report::Fault(BROKE_QUIC));
        }
    }

    #[test]
    fn what_a_peer_says_when_it_closes_is_its_reason_and_its_bytes_can_be_read() {
        for (code, reason) in [
            (u64::from(Goodbye::Banned.code()), Goodbye::Banned),
            (u64::from(u32::MAX), Goodbye::from_code(u16::MAX)),
        ] {
            let error_code = VarInt::from_u64(code).unwrap();
            let close = ApplicationClose { error_code, reason: Bytes::new() };
            let mut phase = Phase::Up;
            let report = phase.lost(ConnectionError::ApplicationClosed(close));
            assert_eq!(
                (report, phase),
                (Report::Lost(DownReason::ByPeer(reason)), Phase::Closed { by_peer: true })
            );
        }
        for (error, reason) in [
            (ConnectionError::TimedOut, DownReason::Lost),
            (ConnectionError::Reset, DownReason::Reset),
            (ConnectionError::VersionMismatch, DownReason::Rejected),
        ] {
            let mut phase = Phase::Up;
            assert_eq!((phase.lost(error), phase), (Report::Lost(reason), Phase::Closed { by_peer: false }));
        }
    }
}
