//! Tokens that the operator made. Only their hashes are here: who reads the configuration learns no token.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::TokenHash;

/// Longer than anyone makes one; a header may not make us hash megabytes.
const LONGEST_TOKEN_BYTES: usize = 8 * 1024;

/// The tokens of one place, by the operator's names for them.
pub(crate) struct StaticTokens(Vec<(Arc<str>, TokenHash)>);

impl StaticTokens {
    pub(crate) fn new(configured: &BTreeMap<String, TokenHash>) -> Self {
        let named = |(name, hash): (&String, &TokenHash)| (name.as_str().into(), hash.clone());
        Self(configured.iter().map(named).collect())
    }

    /// The name of a token. All hashes are compared, each to its end, so that time tells nothing of them.
    pub(crate) fn name(&self, token: &[u8]) -> Option<Arc<str>> {
        if token.len() > LONGEST_TOKEN_BYTES {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for (name, hash) in &self.0 {
            if bool::from(hash.bytes().ct_eq(&digest)) {
                found = Some(name.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_several_tokens_is_known_by_its_name_and_no_other_is() {
        let hash = |token: &str| {
            let digest = Sha256::digest(token);
            let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            TokenHash::try_from(format!("sha256:{digits}")).expect("a hash")
        };
        let configured = [("old", "token-1"), ("new", "token-2")];
        let tokens = StaticTokens::new(
            &configured
                .map(|(name, token)| (name.to_owned(), hash(token)))
                .into(),
        );

        assert_eq!(tokens.name(b"token-1").as_deref(), Some("old"));
        assert_eq!(tokens.name(b"token-2").as_deref(), Some("new"));
        for token in ["token-3", "token-", "token-22", ""] {
            assert_eq!(tokens.name(token.as_bytes()), None, "{token}");
        }
        assert_eq!(tokens.name(&vec![b'a'; LONGEST_TOKEN_BYTES + 1]), None);
    }
}
