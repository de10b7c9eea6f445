//! Refresh tokens: opaque, 256 bits, stored as a keyed hash. The successor of a token is a function of it, so that a
//! repeated request gets the same one without storing a secret (S2).

use hmac::Mac;

use super::encoding::{from_base64url, hmac, to_base64url, to_hex};

const TOKEN_BYTES: usize = 32;

/// A refresh token that was read from a request, or a fresh one.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken([u8; TOKEN_BYTES]);

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshToken(…)")
    }
}

impl RefreshToken {
    /// The first token of a family.
    #[must_use]
    pub fn fresh(random: [u8; TOKEN_BYTES]) -> Self {
        Self(random)
    }

    /// `None` for anything that we never issued in form: an access token is no refresh token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 43 {
            return None;
        }
        from_base64url(text)?.try_into().ok().map(Self)
    }

    /// What the client holds: 43 characters of base64url.
    #[must_use]
    pub fn reveal(&self) -> String {
        to_base64url(&self.0)
    }

    /// What the database holds.
    #[must_use]
    pub fn stored(&self, secret: &str) -> String {
        keyed(secret, "stored", &self.0)
    }

    /// The only token that can follow this one.
    #[must_use]
    pub fn successor(&self, secret: &str) -> Self {
        Self(hmac(secret.as_bytes(), &[b"successor\n", &self.0]).finalize().into_bytes().into())
    }
}

/// Who repeats a request: `X-Client-Id`, else user agent and address; as stored with a used token.
#[must_use]
pub fn client_instance(secret: &str, client_id: Option<&str>, user_agent: Option<&str>, address: &str) -> String {
    match client_id {
        Some(id) => keyed(secret, "client id", id.as_bytes()),
        None => keyed(secret, "user agent", format!("{}\n{address}", user_agent.unwrap_or_default()).as_bytes()),
    }
}

/// A key under which something personal may be counted, without storing it.
#[must_use]
pub fn keyed(secret: &str, purpose: &str, data: &[u8]) -> String {
    to_hex(&hmac(secret.as_bytes(), &[purpose.as_bytes(), b"\n", data]).finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_round_trip_and_nothing_else_does() {
        let token = RefreshToken::fresh([9; 32]);
        assert_eq!(RefreshToken::parse(&token.reveal()), Some(token.clone()));
        for bad in ["", "x", "eyJhbGciOiJFZERTQSJ9.e30.x", &format!("{}=", token.reveal()), &"é".repeat(43)] {
            assert_eq!(RefreshToken::parse(bad), None, "{bad}");
        }
        assert!(!format!("{token:?}").contains(&token.reveal()));
    }

    #[test]
    fn the_successor_depends_on_token_and_secret() {
        let token = RefreshToken::fresh([9; 32]);
        assert_eq!(token.successor("a"), token.successor("a"));
        assert_ne!(token.successor("a"), token.successor("b"));
        assert_ne!(token.successor("a"), token);
        assert_ne!(token.stored("a"), token.stored("b"));
        assert_ne!(token.stored("a"), token.successor("a").stored("a"));
    }

    #[test]
    fn a_client_id_outweighs_agent_and_address() {
        let at = |id: Option<&str>, agent: &str, address: &str| client_instance("s", id, Some(agent), address);
        assert_eq!(at(Some("x"), "a", "1"), at(Some("x"), "b", "2"));
        assert_ne!(at(None, "a", "1"), at(None, "a", "2"));
        assert_ne!(at(None, "a", "1"), at(None, "b", "1"));
        assert_ne!(at(Some("a\n1"), "", ""), at(None, "a", "1"));
    }
}
