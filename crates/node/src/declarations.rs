//! The channels of a node to be: what is declared, checked against each other, and how their handles are made.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_base::ProtocolId;
use weir_pull::{ChannelId, Shape};
use weir_stack::{NAMED, NamedProtocol, NamedShape};

use crate::channel::Declared;
use crate::config::Config;
use crate::error::StartError;
use crate::shared::{Channel, Lease, Mail, Named, NamedMail};

/// Makes handles, once there is a node.
#[doc(hidden)]
pub struct Bind<H>(BindOnce<H>);

type BindOnce<H> = Box<dyn FnOnce(&Arc<Lease>) -> H + Send>;

/// Adds channels to a node.
pub(crate) type DeclareOnce<H> = Box<dyn FnOnce(&mut Declarations) -> Bind<H> + Send>;

impl<H> Bind<H> {
    pub(crate) fn new(bind: impl FnOnce(&Arc<Lease>) -> H + Send + 'static) -> Self {
        Self(Box::new(bind))
    }

    /// Both of two.
    pub(crate) fn both<O>(self, other: Bind<O>) -> Bind<(H, O)>
    where
        H: 'static,
        O: 'static,
    {
        Bind::new(|lease| (self.handles(lease), other.handles(lease)))
    }

    /// The handles of a node.
    pub(crate) fn handles(self, lease: &Arc<Lease>) -> H {
        self.0(lease)
    }
}

/// The channels of a node to be.
#[doc(hidden)]
#[derive(Debug)]
pub struct Declarations {
    pub(crate) config: Config,
    list: Vec<(Channel, Shape)>,
    /// Other people's protocols, with the number of the next name.
    protocols: Vec<NamedProtocol>,
    next: ProtocolId,
    named: BTreeMap<ProtocolId, Named>,
}

/// Declarations that passed every check.
pub(crate) struct Checked {
    pub(crate) config: Config,
    /// Each channel as the node stores it, and as hello says it.
    pub(crate) channels: Vec<(Channel, weir_pull::Channel)>,
    pub(crate) named: BTreeMap<ProtocolId, Named>,
}

impl Declarations {
    pub(crate) fn new(config: Config) -> Self {
        let (list, protocols, named) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { config, list, protocols, next: NAMED, named }
    }

    /// Adds a protocol that goes by name; the number of its first name.
    pub(crate) fn add_named(
        &mut self,
        names: &'static [&'static str],
        served: bool,
        (shape, mail): (NamedShape, &NamedMail),
    ) -> ProtocolId {
        let first = self.next;
        for name in names {
            self.named.insert(self.next, Named { name, mail: mail.clone() });
            self.next = ProtocolId(self.next.0.saturating_add(1));
        }
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.protocols.push(NamedProtocol { names, served, shape });
        first
    }

    pub(crate) fn add(&mut self, declared: Declared, shape: Shape, mail: Mail) {
        self.list.push((Channel { declared, mail }, shape));
    }

    /// Checks the channels against each other.
    pub(crate) fn checked(mut self) -> Result<Checked, StartError> {
        let mut checked: Vec<(Channel, weir_pull::Channel)> = Vec::with_capacity(self.list.len());
        for (channel, shape) in self.list {
            let Declared { id, name, version, oldest, .. } = channel.declared;
            let same = |(other, _): &&(Channel, _)| other.declared.id == id || other.declared.name == name;
            if let Some((other, _)) = checked.iter().find(same) {
                let other = other.declared;
                return Err(StartError::DuplicateChannel {
                    id,
                    name,
                    other: other.id,
                    other_name: other.name,
                });
            }
            let (id, name) = (ChannelId(id), name.to_owned());
            checked.push((channel, weir_pull::Channel { id, name, version, oldest, shape }));
        }
        self.config.node.profile.protocols = self.protocols;
        Ok(Checked { config: self.config, channels: checked, named: self.named })
    }
}
