use std::cell::RefCell;

use super::*;
use crate::settings::{People, Placement};

const STRONG: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn of<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

#[test]
fn defaults_are_those_of_the_contract() {
    assert_eq!(Settings::read(&of(&[])), Ok(Settings::default()));
}

#[test]
fn test_settings_are_refused_in_production() {
    for setting in [("RATE_LIMITS", "off"), ("BCRYPT_COST", "4")] {
        assert!(Settings::read(&of(&[setting])).unwrap_err().contains("CHATCALL_ENV=development"), "{setting:?}");
        Settings::read(&of(&[setting, ("CHATCALL_ENV", "development")])).unwrap();
        Settings::read(&of(&[setting, ("NODE_ENV", "development")])).unwrap();
    }
}

#[test]
fn wrong_settings_are_named() {
    for (name, value) in [
        ("REGISTRATION", "maybe"),
        ("RATE_LIMITS", "none"),
        ("MAX_TEXT_LENGTH", "0"),
        ("MAX_TEXT_LENGTH", "many"),
        ("JWT_EXPIRES_IN", "soon"),
        ("JWT_EXPIRES_IN", "0s"),
        ("JWT_REFRESH_EXPIRES_IN", "9999999999999d"),
        ("JWT_REFRESH_EXPIRES_IN", "é"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://a.example/path"),
        ("CHATCALL_ENV", "test"),
    ] {
        let sentence = Settings::read(&of(&[(name, value)])).unwrap_err();
        assert!(sentence.contains(name) && sentence.contains(value), "{sentence}");
    }
}

#[test]
fn origins_and_durations_are_read() {
    let pairs = [("CLIENT_URL", "https://a.example/, capacitor://localhost"), ("JWT_EXPIRES_IN", "90s")];
    let settings = Settings::read(&of(&pairs)).unwrap();
    assert_eq!(settings.allowed_origins, ["https://a.example", "capacitor://localhost"]);
    assert_eq!(settings.access_ttl_ms, 90_000);
}

#[test]
fn seeds_are_read_from_pem_and_base64url() {
    let seed = [7; 32];
    let der = [PKCS8_ED25519.as_slice(), seed.as_slice()].concat();
    let pem = format!("-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----\\n", STANDARD.encode(der));
    let wanted = URL_SAFE_NO_PAD.encode(seed);
    for text in [&pem, &pem.replace("\\n", "\n"), &wanted] {
        let key = signing_key(&of(&[("JWT_PRIVATE_KEY", text), ("JWT_SECRET", STRONG)])).unwrap();
        assert_eq!(key, Some(SigningKey::Ed25519(wanted.clone())));
    }
    for bad in ["AAAA", "not base64!"] {
        assert!(signing_key(&of(&[("JWT_PRIVATE_KEY", bad)])).unwrap_err().starts_with("JWT_PRIVATE_KEY is no"));
    }
}

#[test]
fn weak_and_empty_secrets_are_refused_and_development_only_tells() {
    for weak in ["", "short", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        assert!(secret(&of(&[("JWT_SECRET", weak)]), "JWT_SECRET").unwrap_err().starts_with("JWT_SECRET is refused"));
    }
    let pairs = [("JWT_SECRET", "short"), ("JWT_REFRESH_SECRET", STRONG), ("CHATCALL_ENV", "development")];
    assert_eq!(secret(&of(&pairs), "JWT_SECRET"), Ok(Some("short".to_owned())));
    assert_eq!(weak_secrets(&of(&pairs)).len(), 1);
    assert!(secret(&of(&[("JWT_SECRET", ""), ("CHATCALL_ENV", "development")]), "JWT_SECRET").is_err());
    assert_eq!(secret(&of(&[]), "JWT_SECRET"), Ok(None));
}

#[test]
fn the_list_of_names_is_complete() {
    let asked = RefCell::new(Vec::new());
    let vars = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        None
    };
    Settings::read(&vars).unwrap();
    signing_key(&vars).unwrap();
    secret(&vars, "JWT_REFRESH_SECRET").unwrap();
    Placement::read(&vars).unwrap();
    assert!(weak_secrets(&vars).is_empty());
    for name in asked.borrow().iter() {
        assert!(NAMES.contains(&name.as_str()), "{name}");
    }
    for name in NAMES {
        assert!(asked.borrow().iter().any(|asked| asked == name), "nobody reads {name}");
    }
}

#[test]
fn without_a_key_there_is_no_room_host() {
    let alone = Placement::read(&of(&[("ROOM_HOST_URL", "http://127.0.0.1:3001")])).unwrap();
    assert!(alone.room_host.is_none() && alone.socket_url.is_none());
    assert_eq!((alone.people, alone.address_header.as_str()), (People::Own, "spin-client-addr"));
    let sentence = Placement::read(&of(&[("PEOPLE_DATABASE", "host")])).unwrap_err();
    assert!(sentence.contains("ROOM_HOST_KEY"), "{sentence}");
}

#[test]
fn with_a_key_people_live_with_the_room_host_unless_said_otherwise() {
    let key = ("ROOM_HOST_KEY", STRONG);
    let url = ("ROOM_HOST_URL", "https://rooms.example:8443/");
    let placed = Placement::read(&of(&[key, url])).unwrap();
    let room_host = placed.room_host.unwrap();
    assert_eq!((room_host.url.as_str(), placed.people), ("https://rooms.example:8443", People::RoomHost));
    assert_eq!(placed.socket_url.as_deref(), Some("https://rooms.example:8443"));
    let pairs = [key, url, ("PEOPLE_DATABASE", "sqlite"), ("SOCKET_URL", "https://chat.example")];
    let placed = Placement::read(&of(&pairs)).unwrap();
    assert_eq!((placed.people, placed.socket_url.as_deref()), (People::Own, Some("https://chat.example")));
    for (name, value) in [("ROOM_HOST_URL", ""), ("ROOM_HOST_URL", "rooms.example"), ("ROOM_HOST_URL", "https://a.example/b")] {
        let sentence = Placement::read(&of(&[key, (name, value)])).unwrap_err();
        assert!(sentence.contains(name), "{sentence}");
    }
    assert!(Placement::read(&of(&[("ROOM_HOST_KEY", "weak"), url])).unwrap_err().contains("ROOM_HOST_KEY is refused"));
}
