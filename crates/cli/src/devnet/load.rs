//! The transactions of a run: payloads from a file or made up, signed by generated accounts, each bound to one node.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use weir_chain::transfer::{PAYLOAD_MAX, TRANSFER_MAX};
use weir_chain::{AccountId, Hash, SigningKey, Transfer};
use weir_sim::Rng;

use crate::error::Failure;

/// Accounts that sign for one node. Their nonces follow each other, so a node submits each account's transfers in order.
const ACCOUNTS_PER_NODE: usize = 64;
/// What every account owns at the start.
const BALANCE: u64 = 1_000_000_000;
/// Fees are drawn up to this.
const FEE_MAX: u64 = 1_000;

/// Where payloads come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file's lines, in order, once.
    Lines(std::vec::IntoIter<Vec<u8>>),
    /// Random bytes of random sizes, without end.
    Made,
}

impl Source {
    /// Reads a file with a payload a line. Nothing is kept of it where a line is too long.
    pub(crate) fn from_file(path: &Path) -> Result<Self, Failure> {
        let file = std::fs::File::open(path)
            .map_err(|error| Failure::input(format!("--txs: cannot open {}: {error}", path.display())))?;
        let mut lines = Vec::new();
        for (index, line) in BufReader::new(file).split(b'\n').enumerate() {
            let mut line = line
                .map_err(|error| Failure::input(format!("--txs: cannot read {}: {error}", path.display())))?;
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if line.len() > PAYLOAD_MAX {
                return Err(Failure::input(format!(
                    "--txs: line {} of {} has {} bytes, a payload at most {PAYLOAD_MAX}; shorten or split it",
                    index + 1,
                    path.display(),
                    line.len()
                )));
            }
            lines.push(line);
        }
        if lines.is_empty() {
            return Err(Failure::input(format!(
                "--txs: {} has no lines; write one payload per line",
                path.display()
            )));
        }
        Ok(Self::Lines(lines.into_iter()))
    }
}

struct Account {
    key: SigningKey,
    nonce: u64,
}

/// Makes the transfers of a run.
pub(crate) struct Load {
    source: Source,
    network: Hash,
    accounts: Vec<Vec<Account>>,
    rng: Rng,
    made: usize,
}

impl Load {
    /// The accounts of `nodes` nodes and what they own: for the genesis.
    pub(crate) fn balances(nodes: usize, rng: &mut Rng) -> (Vec<Vec<SigningKey>>, BTreeMap<AccountId, u64>) {
        let keys: Vec<Vec<SigningKey>> = (0..nodes)
            .map(|_| (0..ACCOUNTS_PER_NODE).map(|_| SigningKey::from_bytes(&rng.bytes())).collect())
            .collect();
        let balances = keys.iter().flatten().map(|key| (AccountId::of(key), BALANCE)).collect();
        (keys, balances)
    }

    /// A load on the chain with this network id.
    pub(crate) fn new(source: Source, network: Hash, keys: Vec<Vec<SigningKey>>, rng: Rng) -> Self {
        let account = |key| Account { key, nonce: 0 };
        let accounts = keys.into_iter().map(|keys| keys.into_iter().map(account).collect()).collect();
        Self { source, network, accounts, rng, made: 0 }
    }

    /// The next transfer and the node to submit it at, one of `up`; `None` at the file's end.
    pub(crate) fn next(&mut self, up: &[usize]) -> Option<(usize, Transfer)> {
        let payload = match &mut self.source {
            Source::Lines(lines) => lines.next()?,
            Source::Made => {
                let fixed = TRANSFER_MAX - PAYLOAD_MAX;
                let size = weir_sim::load::item_size(&mut self.rng);
                let mut payload = vec![0; size.saturating_sub(fixed).min(PAYLOAD_MAX)];
                self.rng.fill(&mut payload);
                payload
            }
        };
        let node = *up.get(self.rng.index(up.len()))?;
        let accounts = self.accounts.get_mut(node)?;
        let index = self.rng.index(accounts.len());
        let account = accounts.get_mut(index)?;
        let to = AccountId(self.rng.bytes());
        let fee = self.rng.below(FEE_MAX);
        let transfer = Transfer::sign(&account.key, &self.network, account.nonce, (to, 1), fee, &payload)?;
        account.nonce += 1;
        self.made += 1;
        Some((node, transfer))
    }

    /// Whether a file is behind it, so that it ends by itself.
    pub(crate) fn ends(&self) -> bool {
        matches!(self.source, Source::Lines(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(source: Source) -> Load {
        let mut rng = Rng::from_number(1);
        let (keys, balances) = Load::balances(3, &mut rng);
        assert_eq!(balances.len(), 3 * ACCOUNTS_PER_NODE);
        Load::new(source, [7; 32], keys, rng)
    }

    #[test]
    fn an_accounts_nonces_follow_each_other_at_one_node() {
        let mut load = load(Source::Made);
        let mut seen: BTreeMap<AccountId, (usize, u64)> = BTreeMap::new();
        for _ in 0..1000 {
            let (node, transfer) = load.next(&[0, 2]).unwrap();
            assert!(transfer.verify(&[7; 32]) && node != 1);
            let (home, next) = seen.entry(transfer.from).or_insert((node, 0));
            assert_eq!((*home, *next), (node, transfer.nonce));
            *next += 1;
        }
    }

    #[test]
    fn a_files_lines_are_the_payloads_and_a_long_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, "one\r\ntwo\n\nfour").unwrap();
        let mut load = load(Source::from_file(&path).unwrap());
        let payloads: Vec<_> =
            std::iter::from_fn(|| load.next(&[0])).map(|(_, t)| t.payload().to_vec()).collect();
        assert_eq!(payloads, [&b"one"[..], b"two", b"", b"four"]);
        std::fs::write(&path, [b"short\n".to_vec(), vec![b'x'; PAYLOAD_MAX + 1]].concat()).unwrap();
        let error = Source::from_file(&path).unwrap_err();
        assert!(error.to_string().contains("line 2") && error.exit_code() == 2, "{error}");
        let error = Source::from_file(&folder.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("cannot open") && error.exit_code() == 2);
    }
}
