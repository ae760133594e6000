//! What a peer is blamed for on a pool's streams.

use weir_base::Fault;

/// More was offered than was granted.
pub const BEYOND_PERMIT: Fault = Fault::misbehaved("an offer beyond its permit");
/// Offers do not follow one another, or a first one does not begin where it was asked to.
pub const OUT_OF_PLACE: Fault = Fault::misbehaved("an offer that does not begin where it should");
/// An item larger than both sides' limits was offered.
pub const OVERSIZED: Fault = Fault::misbehaved("an offer of an item beyond the size limit");
/// An answer came that was not asked for.
pub const UNASKED: Fault = Fault::misbehaved("an item or gone that was not asked for");
/// An index was asked for while its answer was outstanding, or too many were.
pub const GREEDY: Fault = Fault::misbehaved("a get of what is on its way, or too many gets");
/// The cursor was moved too often.
pub const RESTLESS: Fault = Fault::misbehaved("the cursor was moved too often");
/// Messages of types that are skipped came too often, or were too large together.
pub const CHATTY: Fault = Fault::misbehaved("too many messages of types that are skipped");
/// An item is not what its deliverer had offered.
pub const FALSE_ITEM: Fault = Fault::invalid("an item that is not what was offered");
/// The application rejected an item.
pub const REJECTED: Fault = Fault::invalid("an item that the application rejected");
/// An item was announced and not delivered.
pub const WITHHELD: Fault = Fault::unreliable("an item announced and neither delivered nor gone in time");
/// Most items announced were gone, and others had them.
pub const MOSTLY_GONE: Fault = Fault::unreliable("most items announced were gone, though others had them");
