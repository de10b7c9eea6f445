//! Where the other parts of a deployment are, for a host that holds no objects itself (V-35).

use super::variables::{Variables, secret};

/// The header in which Spin tells the client's address, with its port.
const ADDRESS_HEADER: &str = "spin-client-addr";

/// Where objects are, and the key that signs requests to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomHost {
    /// `scheme://host[:port]`.
    pub url: String,
    pub key: String,
}

/// Which people database handlers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum People {
    /// The database of this host; a room host may share it.
    Own,
    /// The room host's, by signed requests.
    RoomHost,
}

/// The parts of a deployment on a host without objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// None: accounts only.
    pub room_host: Option<RoomHost>,
    pub people: People,
    ///
    pub socket_url: Option<String>,
    /// In lower case; the host sets it and lets no client set it.
    pub address_header: String,
}

impl Placement {
    /// Without `ROOM_HOST_KEY` this host is alone, whatever else is set.
    ///
    /// # Errors
    /// One sentence on the first setting that cannot be used.
    pub fn read(vars: &impl Variables) -> Result<Self, String> {
        let url = base(vars, "ROOM_HOST_URL")?;
        let socket_url = base(vars, "SOCKET_URL")?;
        let wanted = vars.word("PEOPLE_DATABASE", &["host", "sqlite"])?;
        let address_header = vars.get("ADDRESS_HEADER").unwrap_or_else(|| ADDRESS_HEADER.to_owned()).to_ascii_lowercase();
        let Some(key) = secret(vars, "ROOM_HOST_KEY")? else {
            if wanted == Some("host") {
                return Err("PEOPLE_DATABASE=host needs a room host: ROOM_HOST_KEY is not set".into());
            }
            return Ok(Self { room_host: None, people: People::Own, socket_url, address_header });
        };
        let url = url.ok_or("ROOM_HOST_URL is not set: ROOM_HOST_KEY signs requests to a room host there")?;
        let people = if wanted == Some("sqlite") { People::Own } else { People::RoomHost };
        let socket_url = socket_url.or_else(|| Some(url.clone()));
        Ok(Self { room_host: Some(RoomHost { url, key }), people, socket_url, address_header })
    }
}

/// `http(s)://host[:port]`, without the slash at its end.
fn base(vars: &impl Variables, name: &str) -> Result<Option<String>, String> {
    let Some(value) = vars.get(name) else { return Ok(None) };
    let url = value.trim_end_matches('/');
    let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    if authority.is_empty() || authority.contains(['/', '?', '#', ' ', '@']) {
        return Err(format!("{name} is `{value}`: it takes http://host[:port] or https://host[:port]"));
    }
    Ok(Some(url.to_owned()))
}
