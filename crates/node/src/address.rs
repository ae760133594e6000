//! What an application may give for an address.

use weir_base::multiaddr::Multiaddr;

use crate::error::AddressError;

/// What can stand for an address: a [`Multiaddr`], its text, or an IP address and UDP port (QUIC). A TCP port is said by a multiaddress, `/ip4/…/tcp/…`.
///
/// ```
/// use weir::ToAddress as _;
///
/// assert_eq!("192.0.2.1:4001".to_address()?.to_string(), "/ip4/192.0.2.1/udp/4001/quic-v1");
/// assert_eq!("/dns4/node.example/tcp/4001".to_address()?.to_string(), "/dns4/node.example/tcp/4001");
/// let refused = "node.example:4001".to_address().unwrap_err(); // a name is said by a multiaddress
/// assert_eq!(refused.address, "node.example:4001");
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub trait ToAddress {
    /// The address.
    ///
    /// # Errors
    /// [`AddressError`]: the text, and what is wrong with it.
    fn to_address(self) -> Result<Multiaddr, AddressError>;
}

impl ToAddress for Multiaddr {
    fn to_address(self) -> Result<Multiaddr, AddressError> {
        Ok(self)
    }
}

impl ToAddress for &Multiaddr {
    fn to_address(self) -> Result<Multiaddr, AddressError> {
        Ok(self.clone())
    }
}

impl ToAddress for std::net::SocketAddr {
    fn to_address(self) -> Result<Multiaddr, AddressError> {
        Ok(Multiaddr::from_quic(self))
    }
}

impl ToAddress for &str {
    fn to_address(self) -> Result<Multiaddr, AddressError> {
        match self.parse::<std::net::SocketAddr>() {
            Ok(socket) => Ok(Multiaddr::from_quic(socket)),
            Err(_) => self.parse().map_err(|error| AddressError::new(self, error)),
        }
    }
}

impl ToAddress for String {
    fn to_address(self) -> Result<Multiaddr, AddressError> {
        self.as_str().to_address()
    }
}

/// An address that this version of the stack could dial.
pub(crate) fn dialable(address: Result<Multiaddr, AddressError>) -> Result<Multiaddr, AddressError> {
    let address = address?;
    match weir_stack::check_dialable(&address) {
        Ok(()) => Ok(address),
        Err(error) => Err(AddressError::new(address, error)),
    }
}
