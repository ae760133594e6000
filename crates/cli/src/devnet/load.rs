//! The transactions of a run: payloads signed by generated accounts, each bound to one node.

use std::collections::BTreeMap;

use weir_chain::ledger::MIN_FEE;
use weir_chain::{AccountId, Hash, SigningKey, Transfer};
use weir_sim::Rng;

use super::source::Source;
use crate::error::Failure;

/// Accounts that sign for one node. Their nonces follow each other, so a node submits each account's transfers in order.
const ACCOUNTS_PER_NODE: usize = 64;
/// What every account owns at the start.
const BALANCE: u64 = 1_000_000_000;
/// Fees are drawn up to this.
const FEE_MAX: u64 = 1_000;

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
        Self { source, network, accounts, rng }
    }

    /// The next transfer and the set of accounts that signed it, one of `sets`; `None` at the file's end.
    pub(crate) fn next(&mut self, sets: &[usize]) -> Result<Option<(usize, Transfer)>, Failure> {
        let Some(payload) = self.source.next(&mut self.rng)? else { return Ok(None) };
        Ok(self.sign(sets, &payload))
    }

    fn sign(&mut self, sets: &[usize], payload: &[u8]) -> Option<(usize, Transfer)> {
        let set = *sets.get(self.rng.index(sets.len()))?;
        let accounts = self.accounts.get_mut(set)?;
        let index = self.rng.index(accounts.len());
        let account = accounts.get_mut(index)?;
        let to = AccountId(self.rng.bytes());
        let fee = MIN_FEE + self.rng.below(FEE_MAX);
        let transfer = Transfer::sign(&account.key, &self.network, account.nonce, (to, 1), fee, payload)?;
        account.nonce += 1;
        Some((set, transfer))
    }

    /// How many are left to make; `None` where there is no end.
    pub(crate) fn left(&self) -> Option<usize> {
        self.source.left()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> Load {
        let mut rng = Rng::from_number(1);
        let (keys, balances) = Load::balances(3, &mut rng);
        assert_eq!(balances.len(), 3 * ACCOUNTS_PER_NODE);
        Load::new(Source::Made, [7; 32], keys, rng)
    }

    #[test]
    fn an_accounts_nonces_follow_each_other_at_one_node() {
        let mut load = load();
        let mut seen: BTreeMap<AccountId, (usize, u64)> = BTreeMap::new();
        for _ in 0..1000 {
            let (node, transfer) = load.next(&[0, 2]).unwrap().unwrap();
            assert!(transfer.verify(&[7; 32]) && node != 1);
            let (home, next) = seen.entry(transfer.from).or_insert((node, 0));
            assert_eq!((*home, *next), (node, transfer.nonce));
            *next += 1;
        }
    }
}
