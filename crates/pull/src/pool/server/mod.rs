//! This node as a server: what it offers to each link, and what it delivers.

mod offers;
mod outlet;
mod serving;
mod uploads;

#[cfg(test)]
pub(crate) use offers::epoch_for;
pub(crate) use offers::{Offers, strike};
pub(crate) use outlet::{Flow, Outlet};
pub(crate) use serving::Serving;
pub(crate) use uploads::Uploads;
