//! Access and refresh tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge_core::auth::refresh::RefreshToken;
use edge_core::auth::{ACCESS_AUDIENCE, Claims, sign_access, verify_access};
use edge_core::limits::TOKEN_LEEWAY_MS;
use edge_core::settings::{Settings, SigningKey};
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use wire::{ErrorCode, SessionId, Timestamp, UserId};

const NOW: Timestamp = Timestamp(1_772_357_400_000);

fn secret() -> String {
    ('!'..='~').collect()
}

fn settings(key: SigningKey) -> Settings {
    Settings { signing_key: Some(key), ..Settings::default() }
}

fn hs256() -> Settings {
    settings(SigningKey::Hs256(secret()))
}

fn ed25519(byte: u8) -> Settings {
    settings(SigningKey::Ed25519(URL_SAFE_NO_PAD.encode([byte; 32])))
}

fn claims(expires: Timestamp) -> Claims {
    Claims {
        user: UserId(wire::uuid_v7(NOW.0, 1, 2)),
        username: "ann".to_owned(),
        session: SessionId(wire::uuid_v7(NOW.0, 3, 4)),
        version: 5,
        expires,
    }
}

/// A token of ours with changes: the first byte chooses the token, then four bytes say where which byte is put, added or
/// taken. With `T` as the first byte the rest is the token itself. Whatever differs from what we signed is refused.
pub(super) fn access_token(input: &[u8]) -> bool {
    let Some((which, changes)) = input.split_first() else { return false };
    let (own, signer, expires) = match which % 4 {
        0 => (hs256(), hs256(), NOW.plus_ms(900_000)),
        1 => (ed25519(7), ed25519(7), NOW.plus_ms(900_000)),
        2 => (ed25519(7), ed25519(7), NOW.plus_ms(0)),
        _ => (ed25519(7), ed25519(8), NOW.plus_ms(900_000)),
    };
    let claims = claims(expires);
    let signed = sign_access(&claims, wire::uuid_v7(NOW.0, 5, 6), &signer, NOW).expect("a usable key");
    let token = if *which == b'T' { changes.to_vec() } else { changed(signed.as_bytes(), changes) };
    let Ok(token) = std::str::from_utf8(&token) else { return false };
    // The third one is over by then.
    let later = NOW.plus_ms(if which % 4 == 2 { TOKEN_LEEWAY_MS + 1 } else { 0 });
    let wanted = match (token == signed, which % 4) {
        (true, 0 | 1) => Ok(claims),
        (true, 2) => Err(ErrorCode::TokenExpired),
        _ => Err(ErrorCode::Unauthorized),
    };
    let got = verify_access(token, &own, later).map_err(|failure| failure.code);
    assert_eq!(got, wanted, "{token}");
    got.is_ok()
}

fn changed(token: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut token = token.to_vec();
    for change in changes.as_chunks::<4>().0 {
        let [what, high, low, byte] = *change;
        let at = usize::from(u16::from_be_bytes([high, low])) % (token.len() + 1);
        match what % 4 {
            0 if at < token.len() => token[at] = byte,
            1 => token.insert(at, byte),
            2 if at < token.len() => drop(token.remove(at)),
            3 => token.truncate(at),
            _ => {}
        }
    }
    token
}

/// A header and claims, each one line of JSON, signed with our key: only what is exactly an access token of ours counts.
pub(super) fn access_token_claims(input: &[u8]) -> bool {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let (header, payload) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    let Ok(claims) = verify_access(&token, &hs256(), NOW) else { return false };

    let object = |json: &[u8]| match serde_json::from_slice(json) {
        Ok(Value::Object(map)) => map,
        _ => panic!("no object: {}", String::from_utf8_lossy(json)),
    };
    let header = object(header);
    assert_eq!((&header["alg"], &header["typ"]), (&"HS256".into(), &"at+jwt".into()));
    for named in ["kid", "jku", "x5u", "jwk", "crit"] {
        assert!(header.get(named).is_none_or(Value::is_null), "{named}");
    }
    let payload = object(payload);
    let number = |name: &str| payload[name].as_u64().expect("a number");
    assert_eq!(payload["iss"], "chatcall");
    assert!(ACCESS_AUDIENCE.iter().all(|service| payload["aud"].as_array().is_some_and(|all| all.contains(&(*service).into()))));
    assert!(number("iat") <= NOW.plus_ms(TOKEN_LEEWAY_MS).secs());
    assert!(Timestamp(number("exp") * 1000).plus_ms(TOKEN_LEEWAY_MS) >= NOW);
    assert!(!payload.contains_key("nbf") || number("nbf") <= NOW.plus_ms(TOKEN_LEEWAY_MS).secs());
    assert_eq!(payload["username"], claims.username.as_str());
    assert_eq!(payload["sub"].as_str().and_then(UserId::parse), Some(claims.user));
    assert_eq!(payload["sid"].as_str().and_then(SessionId::parse), Some(claims.session));
    assert_eq!((number("ver"), number("exp") * 1000), (claims.version, claims.expires.0));
    true
}

/// A refresh token has one spelling.
pub(super) fn refresh_token(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let Some(token) = RefreshToken::parse(text) else { return false };
    assert_eq!(token.reveal(), text);
    let next = RefreshToken::parse(&token.successor("a").reveal()).expect("a successor has the form too");
    assert!(next == token.successor("a") && next != token);
    true
}
