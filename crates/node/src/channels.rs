//! From declarations to typed handles: what a builder is given, and what start returns for it.

use crate::call::{Caller, Requests};
use crate::channel::{Method, Pool, Protocol, Raw, RequestResponse, Served, ServedRequests, Tip};
use crate::declarations::{Bind, Declarations};
use crate::exchange::{Requester, Responder};
use crate::message::{Message, PoolItem, TipValue};
use crate::pool::PoolHandle;
use crate::stream::Streams;
use crate::tip::TipHandle;

/// Channels that a node takes part in: one, or a tuple of up to 12, an `Option` or a `Vec` of them, nested as one likes. The
/// [table of channels](crate::channel) says which handle each gives.
///
/// ```
/// # use weir_node as weir;
/// use weir::{Channels, Method, Pool, PoolHandle, Requests};
///
/// const TXS: Pool<String> = Pool::new(4, "tx");
/// const BLOCK: Method<u64, String> = Method::new(5, "block");
///
/// /// What a library of channels gives to the nodes that use it.
/// fn chain() -> impl Channels<Handles = (PoolHandle<String>, Requests<u64, String>)> {
///     (TXS, BLOCK.serve())
/// }
/// # let _ = chain();
/// ```
pub trait Channels: Send + 'static {
    /// What start returns for them.
    type Handles;

    /// Adds them to a node's.
    #[doc(hidden)]
    fn declare(self, node: &mut Declarations) -> Bind<Self::Handles>;
}

impl<T: PoolItem> Channels for Pool<T> {
    type Handles = PoolHandle<T>;
    fn declare(self, node: &mut Declarations) -> Bind<PoolHandle<T>> {
        let bind = PoolHandle::declare(self, node);
        Bind::new(bind)
    }
}

impl<T: TipValue> Channels for Tip<T> {
    type Handles = TipHandle<T>;
    fn declare(self, node: &mut Declarations) -> Bind<TipHandle<T>> {
        let bind = TipHandle::declare(self, node);
        Bind::new(bind)
    }
}

impl<Req: Message, Resp: Message> Channels for Method<Req, Resp> {
    type Handles = Caller<Req, Resp>;
    fn declare(self, node: &mut Declarations) -> Bind<Caller<Req, Resp>> {
        let bind = Caller::declare(self, None, node);
        Bind::new(bind)
    }
}

impl<Req: Message, Resp: Message> Channels for Served<Req, Resp> {
    type Handles = Requests<Req, Resp>;
    fn declare(self, node: &mut Declarations) -> Bind<Requests<Req, Resp>> {
        let bind = Requests::declare(self.0, node);
        Bind::new(bind)
    }
}

impl Channels for Protocol {
    type Handles = Streams;
    fn declare(self, node: &mut Declarations) -> Bind<Streams> {
        let bind = Streams::declare_named(self, node);
        Bind::new(bind)
    }
}

impl Channels for RequestResponse {
    type Handles = Requester;
    fn declare(self, node: &mut Declarations) -> Bind<Requester> {
        let bind = Requester::declare(&self, None, node);
        Bind::new(bind)
    }
}

impl Channels for ServedRequests {
    type Handles = Responder;
    fn declare(self, node: &mut Declarations) -> Bind<Responder> {
        let bind = Responder::declare(&self, node);
        Bind::new(bind)
    }
}

impl Channels for Raw {
    type Handles = Streams;
    fn declare(self, node: &mut Declarations) -> Bind<Streams> {
        let bind = Streams::declare(self, node);
        Bind::new(bind)
    }
}

impl<C: Channels<Handles: 'static>> Channels for Option<C> {
    type Handles = Option<C::Handles>;
    fn declare(self, node: &mut Declarations) -> Bind<Self::Handles> {
        let bind = self.map(|channels| channels.declare(node));
        Bind::new(|lease| bind.map(|bind| bind.handles(lease)))
    }
}

impl<C: Channels<Handles: 'static>> Channels for Vec<C> {
    type Handles = Vec<C::Handles>;
    fn declare(self, node: &mut Declarations) -> Bind<Self::Handles> {
        let binds: Vec<_> = self.into_iter().map(|channels| channels.declare(node)).collect();
        Bind::new(|lease| binds.into_iter().map(|bind| bind.handles(lease)).collect())
    }
}

impl Channels for () {
    type Handles = ();
    fn declare(self, _: &mut Declarations) -> Bind<()> {
        Bind::new(|_| ())
    }
}

macro_rules! tuple {
    ($($channels:ident $bind:ident),+) => {
        impl<$($channels: Channels<Handles: 'static>),+> Channels for ($($channels,)+) {
            type Handles = ($($channels::Handles,)+);
            fn declare(self, node: &mut Declarations) -> Bind<Self::Handles> {
                let ($($bind,)+) = self;
                $(let $bind = $bind.declare(node);)+
                Bind::new(|lease| ($($bind.handles(lease),)+))
            }
        }
    };
}

tuple!(A a);
tuple!(A a, B b);
tuple!(A a, B b, C c);
tuple!(A a, B b, C c, D d);
tuple!(A a, B b, C c, D d, E e);
tuple!(A a, B b, C c, D d, E e, F f);
tuple!(A a, B b, C c, D d, E e, F f, G g);
tuple!(A a, B b, C c, D d, E e, F f, G g, H h);
tuple!(A a, B b, C c, D d, E e, F f, G g, H h, I i);
tuple!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j);
tuple!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k);
tuple!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, L l);
