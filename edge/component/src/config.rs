//! What the variables of the host say, read at the first request of an instance.
//!
//! Our own host gives [`Settings`] as JSON in one variable, `settings`, and is where objects are. Any other host has the
//! settings of the contract as variables of the same names in lower case.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use edge_core::settings::{self, NAMES, People, Placement, RoomHost, Settings};
use spin_sdk::variables::Error;

const SETTINGS: &str = "settings";
/// The header in which our own host tells the client's address.
const ADDRESS_HEADER: &str = "x-chatcall-address";

/// Where objects are.
#[derive(Debug)]
pub(crate) enum Objects {
    /// In the process that runs this component: it takes requests to `http://objects.internal`.
    Here,
    At(RoomHost),
    Nowhere,
}

/// Where the people database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    /// `spin:sqlite`, for all.
    Sqlite,
    /// `spin:sqlite` reads, the host writes: it has one writer.
    HostWrites,
    RoomHost,
}

/// A configuration that can work.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    pub(crate) objects: Objects,
    pub(crate) database: Database,
    /// The header in which this host tells the client's address.
    pub(crate) address_header: String,
}

thread_local!(static CONFIG: RefCell<Option<Result<Rc<Config>, String>>> = const { RefCell::new(None) });

impl Config {
    /// The configuration of this instance.
    ///
    /// # Errors
    /// One sentence that names the setting.
    pub(crate) async fn load() -> Result<Rc<Self>, String> {
        if let Some(known) = CONFIG.with_borrow(Clone::clone) {
            return known;
        }
        // A variable that could not be read may be readable next time; a wrong one stays wrong.
        let read = Self::read(fetch().await.inspect_err(|why| eprintln!("settings: {why}"))?).map(Rc::new);
        if let Err(why) = &read {
            eprintln!("settings: {why}");
        }
        CONFIG.set(Some(read.clone()));
        read
    }

    fn read(values: BTreeMap<&'static str, String>) -> Result<Self, String> {
        if let Some(text) = values.get(SETTINGS) {
            return Ok(Self {
                settings: serde_json::from_str(text).map_err(|error| error.to_string())?,
                objects: Objects::Here,
                database: Database::HostWrites,
                address_header: ADDRESS_HEADER.to_owned(),
            });
        }
        let vars = |name: &str| values.get(name).cloned();
        for weak in settings::weak_secrets(&vars) {
            eprintln!("settings: {}", in_lower_case(&weak));
        }
        Self::of_variables(&vars).map_err(|why| in_lower_case(&why))
    }

    fn of_variables(vars: &impl settings::Variables) -> Result<Self, String> {
        let mut settings = Settings::read(vars)?;
        settings.signing_key = settings::signing_key(vars)?;
        if settings.signing_key.is_none() {
            return Err("JWT_PRIVATE_KEY or JWT_SECRET must be set: access tokens are signed with it".into());
        }
        let refresh = settings::secret(vars, "JWT_REFRESH_SECRET")?;
        settings.refresh_secret = refresh.ok_or("JWT_REFRESH_SECRET must be set: it keys the stored refresh tokens")?;
        let Placement { room_host, people, socket_url, address_header } = Placement::read(vars)?;
        settings.socket_url = socket_url;
        settings.upgrades = Vec::new();
        if room_host.is_none() {
            settings.without_objects = Some("there is no room host, so accounts only: room_host_key is not set".into());
        }
        let database = match people {
            People::Own => Database::Sqlite,
            People::RoomHost => Database::RoomHost,
        };
        Ok(Self { settings, objects: room_host.map_or(Objects::Nowhere, Objects::At), database, address_header })
    }
}

/// Sentences name settings as the contract does; here the operator knows them in lower case.
fn in_lower_case(sentence: &str) -> String {
    NAMES.iter().fold(sentence.to_owned(), |sentence, name| sentence.replace(name, &name.to_ascii_lowercase()))
}

/// What is set and not empty: defaults of `spin.toml` are empty text.
async fn fetch() -> Result<BTreeMap<&'static str, String>, String> {
    let mut values = BTreeMap::new();
    if let Some(settings) = variable(SETTINGS).await? {
        values.insert(SETTINGS, settings);
        return Ok(values);
    }
    for name in NAMES {
        if let Some(value) = variable(&name.to_ascii_lowercase()).await? {
            values.insert(name, value);
        }
    }
    Ok(values)
}

async fn variable(name: &str) -> Result<Option<String>, String> {
    match spin_sdk::variables::get(name).await {
        Ok(value) => Ok(Some(value).filter(|value| !value.trim().is_empty())),
        Err(Error::Undefined(_)) => Ok(None),
        Err(error) => Err(format!("the variable {name} cannot be read: {error}")),
    }
}
