//! The genesis file: who produces, and who owns what at the start.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{AccountId, Hash, hex, unhex};

/// A checked genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The chain's name, for people.
    pub chain: String,
    /// The only account whose headers count.
    pub producer: AccountId,
    /// Milliseconds between blocks.
    pub block_ms: u64,
    /// Who owns what.
    pub balances: BTreeMap<AccountId, u64>,
    text: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    chain: String,
    producer: String,
    block_ms: u64,
    #[serde(default)]
    balances: BTreeMap<String, u64>,
}

/// What is wrong with a genesis file, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Not TOML, or a field is missing or unknown.
    #[error("genesis: {0}")]
    Form(String),
    /// A key is not 64 hexadecimal digits.
    #[error("genesis: `{field}` must be a public key of 64 hexadecimal digits, is `{value}`")]
    Key {
        /// The field.
        field: String,
        /// What it holds.
        value: String,
    },
    /// The pause between blocks is out of range.
    #[error("genesis: `block_ms` must be between 1 and 3600000, is {0}")]
    Pause(u64),
    /// The balances add up to more than a 64-bit number.
    #[error("genesis: the balances add up to more than {}", u64::MAX)]
    Supply,
}

impl Genesis {
    /// A genesis made here; its text is what [`text`](Self::text) returns.
    pub fn new(
        chain: &str,
        producer: AccountId,
        block_ms: u64,
        balances: &BTreeMap<AccountId, u64>,
    ) -> Result<Self, GenesisError> {
        let file = File {
            chain: chain.to_owned(),
            producer: hex(&producer.0),
            block_ms,
            balances: balances.iter().map(|(account, amount)| (hex(&account.0), *amount)).collect(),
        };
        Self::parse(&toml::to_string(&file).map_err(|error| GenesisError::Form(error.to_string()))?)
    }

    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, GenesisError> {
        let file: File =
            toml::from_str(text).map_err(|error| GenesisError::Form(error.message().to_owned()))?;
        let key = |field: &str, value: &str| {
            unhex(value)
                .map(AccountId)
                .ok_or_else(|| GenesisError::Key { field: field.to_owned(), value: value.to_owned() })
        };
        if !(1..=3_600_000).contains(&file.block_ms) {
            return Err(GenesisError::Pause(file.block_ms));
        }
        let mut balances = BTreeMap::new();
        let mut supply = 0_u64;
        for (account, amount) in &file.balances {
            balances.insert(key("balances", account)?, *amount);
            supply = supply.checked_add(*amount).ok_or(GenesisError::Supply)?;
        }
        let producer = key("producer", &file.producer)?;
        Ok(Self { chain: file.chain, producer, block_ms: file.block_ms, balances, text: text.to_owned() })
    }

    /// The network id, also the genesis block's hash: SHA-256 of the file's bytes.
    pub fn id(&self) -> Hash {
        Sha256::digest(self.text.as_bytes()).into()
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_its_id_is_the_files_hash() {
        let balances = BTreeMap::from([(AccountId([7; 32]), 5)]);
        let genesis = Genesis::new("test", AccountId([1; 32]), 1000, &balances).unwrap();
        assert_eq!(Genesis::parse(genesis.text()).unwrap(), genesis);
        assert_ne!(Genesis::parse(&format!("{}\n", genesis.text())).unwrap().id(), genesis.id());
    }

    #[test]
    fn errors_name_the_field() {
        let producer = "11".repeat(32);
        let parse = |text: String| Genesis::parse(&text).unwrap_err().to_string();
        assert!(parse(format!("chain='x'\nproducer='{producer}'\nblock_ms=0")).contains("block_ms"));
        assert!(parse("chain='x'\nproducer='abc'\nblock_ms=1".into()).contains("`producer`"));
        assert!(parse(format!("chain='x'\nproducer='{producer}'\nblock_ms=1\nmore=1")).contains("more"));
        let much = format!("'{}'={}\n'{}'=1", "22".repeat(32), u64::MAX, "33".repeat(32));
        assert!(
            parse(format!("chain='x'\nproducer='{producer}'\nblock_ms=1\n[balances]\n{much}"))
                .contains("add up")
        );
    }
}
