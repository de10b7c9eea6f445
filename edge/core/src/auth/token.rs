//! Access tokens: JWS compact form (RFC 7515), `typ: at+jwt` (RFC 9068), EdDSA (RFC 8037) or HS256.
//!
//! The one verifier of REST and of every gateway. `alg` of the header must be the one that belongs to our key. Tokens of
//! ours name no key: one with `kid`, `jku`, `x5u` or `jwk` is refused, and nothing that they say is looked up.
//!
//! Audience: a token names the services that take it. An access token is for `api` and `rt`, so that one token serves
//! REST and sockets; tickets of media nodes are for `media` and are refused here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto, decode_header};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Value, json};
use uuid::Uuid;
use wire::{ErrorCode, SessionId, Timestamp, UserId};

use super::encoding::from_base64url;
use super::jws::{ed25519_keys, install};
use crate::error::Failure;
use crate::limits::{ACCESS_TOKEN_BYTES, TOKEN_LEEWAY_MS};
use crate::settings::{Settings, SigningKey};

/// `aud` of access tokens; all of it must be present.
pub const ACCESS_AUDIENCE: [&str; 2] = ["api", "rt"];
const TYPE: &str = "at+jwt";

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub user: UserId,
    /// As it was when the token was issued.
    pub username: String,
    pub session: SessionId,
    /// `users.token_version` when the token was issued.
    pub version: u64,
    /// Whole seconds.
    pub expires: Timestamp,
}

/// The key of the settings in both directions, and the one algorithm that it serves.
struct Key {
    algorithm: Algorithm,
    signs: EncodingKey,
    verifies: DecodingKey,
}

impl Key {
    /// `development` takes short secrets too; hosts have warned about them.
    fn parse(key: &SigningKey, development: bool) -> Option<Self> {
        match key {
            SigningKey::Ed25519(seed) => {
                let (signs, verifies) = ed25519_keys(&from_base64url(seed)?.try_into().ok()?);
                Some(Self { algorithm: Algorithm::EdDSA, signs, verifies })
            }
            SigningKey::Hs256(secret) if secret.len() >= 32 || development => Some(Self::hs256(secret.as_bytes())),
            SigningKey::Hs256(_) => None,
        }
    }

    fn hs256(secret: &[u8]) -> Self {
        let (signs, verifies) = (EncodingKey::from_secret(secret), DecodingKey::from_secret(secret));
        Self { algorithm: Algorithm::HS256, signs, verifies }
    }

    /// The key of these settings, parsed once per thread: that costs a multiplication on the curve.
    fn of(settings: &Settings) -> Option<Rc<Self>> {
        thread_local!(static LAST: RefCell<Option<(SigningKey, Rc<Key>)>> = const { RefCell::new(None) });
        let wanted = settings.signing_key.as_ref()?;
        LAST.with_borrow_mut(|last| {
            if let Some((known, key)) = last
                && known == wanted
            {
                return Some(key.clone());
            }
            let key = Rc::new(Self::parse(wanted, settings.development)?);
            *last = Some((wanted.clone(), key.clone()));
            Some(key)
        })
    }

    fn encode(&self, payload: &Value) -> Option<String> {
        install();
        let header = Header { typ: Some(TYPE.to_owned()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, payload, &self.signs).ok()
    }

    /// Whether `signature` (base64url) belongs to `message`.
    fn verifies(&self, message: &str, signature: &str) -> bool {
        install();
        crypto::verify(signature, message.as_bytes(), &self.verifies, self.algorithm).unwrap_or(false)
    }
}

/// Signs an access token. `jti` is its id.
///
/// # Errors
/// `INTERNAL_ERROR` where the settings hold no usable key.
pub fn sign_access(claims: &Claims, jti: Uuid, settings: &Settings, now: Timestamp) -> Result<String, Failure> {
    let key = Key::of(settings).ok_or(ErrorCode::InternalError)?;
    let payload = json!({
        "iss": settings.issuer,
        "aud": ACCESS_AUDIENCE,
        "sub": claims.user,
        "username": claims.username,
        "sid": claims.session,
        "ver": claims.version,
        "jti": jti,
        "iat": now.secs(),
        "exp": claims.expires.secs(),
    });
    Ok(key.encode(&payload).ok_or(ErrorCode::InternalError)?)
}

/// Verifies an access token of ours.
///
/// # Errors
/// `TOKEN_EXPIRED` when nothing but its time is wrong with it, else `UNAUTHORIZED`.
pub fn verify_access(token: &str, settings: &Settings, now: Timestamp) -> Result<Claims, Failure> {
    let claims = read(token, settings, now).ok_or(ErrorCode::Unauthorized)?;
    if now.0 > claims.expires.plus_ms(TOKEN_LEEWAY_MS).0 {
        return Err(ErrorCode::TokenExpired.into());
    }
    Ok(claims)
}

/// Everything but `exp`.
fn read(token: &str, settings: &Settings, now: Timestamp) -> Option<Claims> {
    if token.len() > ACCESS_TOKEN_BYTES {
        return None;
    }
    let key = Key::of(settings)?;
    let header = decode_header(token).ok()?;
    if header.alg != key.algorithm || header.typ.as_deref() != Some(TYPE) || header.crit.is_some() || names_key(&header) {
        return None;
    }
    let (message, signature) = token.rsplit_once('.')?;
    if !key.verifies(message, signature) {
        return None;
    }

    // Insecure without the lines above and below.
    let claims: Object = insecure_decode_claims(token).ok()?;
    let latest = now.plus_ms(TOKEN_LEEWAY_MS).secs();
    if claims.text("iss")? != settings.issuer || !claims.is_for(&ACCESS_AUDIENCE) || claims.number("iat")? > latest {
        return None;
    }
    if claims.has("nbf") && claims.number("nbf")? > latest {
        return None;
    }
    Some(Claims {
        user: UserId::parse(claims.text("sub")?)?,
        username: claims.text("username")?.to_owned(),
        session: SessionId::parse(claims.text("sid")?)?,
        version: claims.number("ver")?,
        expires: Timestamp(claims.number("exp")?.checked_mul(1000)?),
    })
}

/// Whether the sender says which key to verify with.
fn names_key(header: &Header) -> bool {
    header.kid.is_some() || header.jku.is_some() || header.x5u.is_some() || header.jwk.is_some()
}

/// A JSON object whose names are all different.
struct Object(BTreeMap<String, Value>);

impl Object {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    fn is_for(&self, services: &[&str]) -> bool {
        let Some(Value::Array(named)) = self.0.get("aud") else { return false };
        services.iter().all(|service| named.iter().any(|name| name == service))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Unique;
        impl<'de> Visitor<'de> for Unique {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object without repeated names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if all.insert(name, value).is_some() {
                        return Err(A::Error::custom("repeated name"));
                    }
                }
                Ok(Object(all))
            }
        }
        deserializer.deserialize_map(Unique)
    }
}

#[cfg(test)]
mod tests {
    use hmac::Mac;

    use super::super::encoding::{hmac, to_base64url};
    use super::*;

    const NOW: Timestamp = Timestamp(1_772_357_400_000);

    fn seed(byte: u8) -> SigningKey {
        SigningKey::Ed25519(to_base64url(&[byte; 32]))
    }

    fn settings(key: SigningKey) -> Settings {
        Settings { signing_key: Some(key), ..Settings::default() }
    }

    fn hs256() -> Settings {
        settings(SigningKey::Hs256(('!'..='~').collect()))
    }

    fn claims() -> Claims {
        Claims {
            user: UserId(wire::uuid_v7(NOW.0, 1, 2)),
            username: "ann".to_owned(),
            session: SessionId(wire::uuid_v7(NOW.0, 3, 4)),
            version: 5,
            expires: NOW.plus_ms(900_000),
        }
    }

    fn payload() -> Value {
        let claims = claims();
        json!({"iss": "chatcall", "aud": ["api", "rt"], "sub": claims.user, "username": "ann", "sid": claims.session,
            "ver": 5, "jti": "x", "iat": NOW.secs(), "exp": claims.expires.secs()})
    }

    /// The signature of any text, in base64url.
    fn sign(message: &str, key: &Key) -> String {
        install();
        crypto::sign(message.as_bytes(), &key.signs, key.algorithm).unwrap()
    }

    /// Any header and payload, signed with the key of the settings.
    fn forge(header: &str, payload: &str, settings: &Settings) -> String {
        let message = format!("{}.{}", to_base64url(header.as_bytes()), to_base64url(payload.as_bytes()));
        let signature = sign(&message, &Key::of(settings).unwrap());
        format!("{message}.{signature}")
    }

    fn code(token: &str, settings: &Settings) -> ErrorCode {
        verify_access(token, settings, NOW).unwrap_err().code
    }

    const HEADER: &str = r#"{"alg":"EdDSA","typ":"at+jwt"}"#;

    #[test]
    fn tokens_of_both_algorithms_verify() {
        for settings in [settings(seed(1)), hs256()] {
            let token = sign_access(&claims(), Uuid::nil(), &settings, NOW).unwrap();
            assert_eq!(verify_access(&token, &settings, NOW).unwrap(), claims());
        }
    }

    #[test]
    fn published_signatures_are_reproduced() {
        // RFC 8037 appendix A.4 and RFC 7515 appendix A.1.
        let key = Key::parse(&SigningKey::Ed25519("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A".to_owned()), false).unwrap();
        let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let wanted = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(sign(message, &key), wanted);
        assert!(key.verifies(message, wanted));

        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = Key::hs256(&from_base64url(secret).unwrap());
        let message = concat!(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt",
            "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        );
        assert_eq!(sign(message, &key), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn times_allow_60_seconds_of_skew() {
        let settings = settings(seed(1));
        let with = |name: &str, secs: u64| {
            let mut payload = payload();
            payload[name] = json!(secs);
            forge(HEADER, &payload.to_string(), &settings)
        };
        assert!(verify_access(&with("exp", NOW.secs() - 60), &settings, NOW).is_ok());
        assert_eq!(code(&with("exp", NOW.secs() - 61), &settings), ErrorCode::TokenExpired);
        assert!(verify_access(&with("nbf", NOW.secs() + 60), &settings, NOW).is_ok());
        assert_eq!(code(&with("nbf", NOW.secs() + 61), &settings), ErrorCode::Unauthorized);
        assert_eq!(code(&with("iat", NOW.secs() + 61), &settings), ErrorCode::Unauthorized);
        assert_eq!(code(&with("exp", u64::MAX), &settings), ErrorCode::Unauthorized);
    }

    #[test]
    fn repeated_names_are_refused() {
        let settings = settings(seed(1));
        let plain = payload().to_string();
        for extra in [r#","exp":9999999999}"#, r#","role":1,"role":2}"#] {
            let doubled = format!("{}{extra}", plain.strip_suffix('}').unwrap());
            assert_eq!(code(&forge(HEADER, &doubled, &settings), &settings), ErrorCode::Unauthorized);
        }
        let header = r#"{"alg":"none","alg":"EdDSA","typ":"at+jwt"}"#;
        assert_eq!(code(&forge(header, &plain, &settings), &settings), ErrorCode::Unauthorized);
    }

    #[test]
    fn one_algorithm_per_key() {
        let (ed, hs) = (settings(seed(1)), hs256());
        let plain = payload().to_string();
        assert_eq!(code(&forge(r#"{"alg":"HS256","typ":"at+jwt"}"#, &plain, &ed), &ed), ErrorCode::Unauthorized);
        assert_eq!(code(&forge(HEADER, &plain, &hs), &hs), ErrorCode::Unauthorized);
        // The classic: HS256 keyed with the public key.
        let Some(SigningKey::Ed25519(own)) = &ed.signing_key else { panic!() };
        let own = ed25519_dalek::SigningKey::from_bytes(&from_base64url(own).unwrap().try_into().unwrap());
        let message = format!(
            "{}.{}",
            to_base64url(br#"{"alg":"HS256","typ":"at+jwt"}"#),
            to_base64url(plain.as_bytes())
        );
        let tag = hmac(own.verifying_key().as_bytes(), &[message.as_bytes()]).finalize().into_bytes();
        assert_eq!(code(&format!("{message}.{}", to_base64url(&tag)), &ed), ErrorCode::Unauthorized);
        let none = format!("{}.{}.", to_base64url(br#"{"alg":"none","typ":"at+jwt"}"#), to_base64url(plain.as_bytes()));
        assert_eq!(code(&none, &ed), ErrorCode::Unauthorized);
    }

    #[test]
    fn a_token_that_names_a_key_is_refused() {
        let settings = settings(seed(1));
        let plain = payload().to_string();
        let foreign = Settings { signing_key: Some(seed(2)), ..settings.clone() };
        assert!(verify_access(&forge(HEADER, &plain, &settings), &settings, NOW).is_ok());
        assert_eq!(code(&forge(HEADER, &plain, &foreign), &settings), ErrorCode::Unauthorized);
        for header in [
            r#"{"alg":"EdDSA","typ":"at+jwt","kid":"../../key"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt","jku":"https://evil.example/keys"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt","x5u":"https://evil.example/cert"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt","jwk":{"kty":"OKP"}}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt","jwk":{"kty":"oct","k":"AAAA"}}"#,
        ] {
            // Whether or not the signature is ours.
            for signer in [&settings, &foreign] {
                assert_eq!(code(&forge(header, &plain, signer), &settings), ErrorCode::Unauthorized, "{header}");
            }
        }
    }

    #[test]
    fn type_issuer_and_audience_must_be_ours() {
        let settings = settings(seed(1));
        let plain = payload().to_string();
        assert_eq!(code(&forge(r#"{"alg":"EdDSA","typ":"JWT"}"#, &plain, &settings), &settings), ErrorCode::Unauthorized);
        assert_eq!(code(&forge(r#"{"alg":"EdDSA"}"#, &plain, &settings), &settings), ErrorCode::Unauthorized);
        for (name, value) in [
            ("iss", json!("other")),
            ("aud", json!(["media"])),
            ("aud", json!(["api"])),
            ("aud", json!("api")),
            ("sub", json!("1 OR 1=1")),
            ("sid", json!(null)),
            ("ver", json!(-1)),
            ("exp", json!("9999999999")),
            ("exp", json!(1.5)),
            ("username", json!({})),
        ] {
            let mut payload = payload();
            payload[name] = value;
            let token = forge(HEADER, &payload.to_string(), &settings);
            assert_eq!(code(&token, &settings), ErrorCode::Unauthorized, "{name}");
        }
    }

    #[test]
    fn critical_headers_are_refused() {
        let settings = settings(seed(1));
        let header = r#"{"alg":"EdDSA","typ":"at+jwt","crit":["exp"]}"#;
        assert_eq!(code(&forge(header, &payload().to_string(), &settings), &settings), ErrorCode::Unauthorized);
    }

    #[test]
    fn bytes_that_are_no_token_are_refused() {
        let settings = settings(seed(1));
        let token = sign_access(&claims(), Uuid::nil(), &settings, NOW).unwrap();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(verify_access(&String::from_utf8(bytes).unwrap(), &settings, NOW).is_err(), "{at}");
        }
        for bad in ["", ".", "..", "...", "é.é.é", &format!("{token}="), &"a.".repeat(5_000), &token[..token.len() - 1]] {
            assert_eq!(code(bad, &settings), ErrorCode::Unauthorized);
        }
        assert_eq!(code(&token, &Settings::default()), ErrorCode::Unauthorized);
    }
}
