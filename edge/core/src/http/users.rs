//! R-05 search, G-19 public profiles, G-02 the own one, G-20 settings.

use serde_json::{Map, Value, json};
use wire::{ErrorCode, UserId};

use super::auth::{check_email, check_username, own_user};
use super::input::{self, Fields, only_wildcards, user_param};
use super::reply::Reply;
use super::{Call, passwords, sessions, unexpected};
use crate::error::Failure;
use crate::limits::{self, BIO_CHARS, PROFILE_CHARS, SEARCH_CHARS, STATUS_CHARS, USERNAME_CHARS};
use crate::objects::Message;
use crate::platform::{Platform, StoreError};
use crate::sql::people::{self, ProfileChange};

///
pub(super) async fn search<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let text = input::query(call.request, "q")?.unwrap_or_default();
    let text = text.trim();
    if !SEARCH_CHARS.contains(&text.chars().count()) || text.contains(char::is_control) {
        return Err(Failure::invalid("q", "2 to 50 characters are expected"));
    }
    if only_wildcards(text) {
        return Err(Failure::invalid("q", "More than wildcards is expected"));
    }
    call.charge(&[call.bucket("search", &me.user.to_string(), limits::SEARCHES_PER_USER)]).await?;
    Ok(Reply::rows(&call.read(people::search(me.user, text)).await?))
}

/// G-19.
pub(super) async fn show<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let rows = call.read(people::public_user(me.user, user_param(&call.params)?)).await?;
    Reply::row(&rows).ok_or_else(|| ErrorCode::UserNotFound.into())
}

/// G-02. Conversations show the change within moments: their Rooms are told by the User object.
pub(super) async fn change<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let fields = Fields::read(call.request)?;
    let email = fields.optional_text("email")?.map(check_email).transpose()?;
    passwords::current(&fields)?;
    let change = ProfileChange {
        username: fields.optional_text("username")?.map(check_username).transpose()?,
        display_name: bounded(&fields, "display_name", USERNAME_CHARS, false)?,
        status: bounded(&fields, "status", STATUS_CHARS, false)?,
        bio: bounded(&fields, "bio", BIO_CHARS, true)?,
        email: email.as_deref(),
        profile: profile(&fields)?,
    };
    if change.display_name.is_some_and(|name| name.trim().is_empty()) {
        return Err(Failure::invalid("display_name", "A name is expected"));
    }
    call.charge(&[call.bucket("profile", &me.user.to_string(), limits::PROFILE_CHANGES_PER_USER)]).await?;
    let mut batch = Vec::new();
    if email.is_some() {
        passwords::confirm(call, &me, &fields, &mut batch).await?;
        batch.extend([people::forget_resets(me.user), people::forget_mail(me.user)]);
    }
    let (name, address) = (change.username, email.as_deref());
    batch.push(change.update(me.user, call.now));
    let rows = match call.platform.people_batch(batch).await {
        Err(StoreError::Conflict) => {
            call.check_free(Some(me.user), name, address).await?;
            return Err(ErrorCode::Conflict.into());
        }
        rows => rows.map_err(super::stored)?,
    };
    let own = rows.last().and_then(|rows| own_user(rows.first()?)).ok_or_else(unexpected)?;
    sessions::tell_user(call, me.user, Message::PersonChanged).await?;
    Ok(Reply::json(200, &own))
}

/// G-20.
pub(super) async fn settings<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    Reply::row(&call.read(people::settings(me.user)).await?).ok_or_else(unexpected)
}

/// G-20: merges what is named; null goes back to the default.
pub(super) async fn change_settings<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let mut change = Fields::read(call.request)?.0;
    for (name, value) in &mut change {
        if let Err(expected) = check_setting(name, value) {
            return Err(Failure::invalid(name, expected));
        }
    }
    let receipts = change.contains_key("readReceipts");
    call.charge(&[call.bucket("profile", &me.user.to_string(), limits::PROFILE_CHANGES_PER_USER)]).await?;
    let mut batch: Vec<_> = people::change_settings(me.user, &Value::Object(change).to_string()).into();
    batch.push(people::settings(me.user));
    let rows = call.write(batch).await?;
    if receipts {
        sessions::tell_user(call, me.user, Message::PersonChanged).await?;
    }
    rows.last().and_then(Reply::row).ok_or_else(unexpected)
}

/// Whether a setting has its shape, or else what is expected. Completes what the next write would otherwise merge.
fn check_setting(name: &str, value: &mut Value) -> Result<(), &'static str> {
    let (fits, expected) = match (name, &mut *value) {
        ("quietHours" | "sounds" | "readReceipts" | "locale" | "theme", Value::Null) => (true, ""),
        ("quietHours", Value::Object(hours)) => (are_hours(hours), "{from: HH:MM, to: HH:MM, timezone?} is expected"),
        ("sounds" | "readReceipts", value) => (value.is_boolean(), "true or false is expected"),
        ("theme", value) => (
            matches!(value.as_str(), Some("system" | "light" | "dark")),
            "One of system, light, dark is expected",
        ),
        ("locale", Value::String(tag)) => (is_name(tag, "-", 2, 35), "A language tag is expected"),
        ("locale", _) => (false, "A language tag is expected"),
        ("quietHours", _) => (false, "{from: HH:MM, to: HH:MM, timezone?} is expected"),
        _ => (false, "There is no such setting"),
    };
    if fits { Ok(()) } else { Err(expected) }
}

fn are_hours(hours: &mut Map<String, Value>) -> bool {
    let time = |name: &str| {
        hours.get(name).and_then(Value::as_str).and_then(|text| text.split_once(':')).is_some_and(|(hour, minute)| {
            let number = |text: &str, below: u8| text.len() == 2 && is_name(text, "", 2, 2) && text.parse().is_ok_and(|n: u8| n < below);
            number(hour, 24) && number(minute, 60)
        })
    };
    let zone = match hours.get("timezone") {
        None | Some(Value::Null) => true,
        Some(zone) => zone.as_str().is_some_and(|zone| is_name(zone, "/_+-", 1, 64)),
    };
    let known = hours.keys().all(|name| matches!(name.as_str(), "from" | "to" | "timezone"));
    let fits = time("from") && time("to") && zone && known;
    hours.entry("timezone").or_insert(Value::Null);
    fits
}

/// `least` to `most` letters, digits and these others, of ASCII.
fn is_name(text: &str, others: &str, least: usize, most: usize) -> bool {
    (least..=most).contains(&text.len()) && text.chars().all(|symbol| symbol.is_ascii_alphanumeric() || others.contains(symbol))
}

/// A text of at most so many characters, none of them a control character; line breaks where there may be `lines`.
fn bounded<'a>(fields: &'a Fields, name: &str, most: usize, lines: bool) -> Result<Option<&'a str>, Failure> {
    let Some(text) = fields.optional_text(name)? else { return Ok(None) };
    let refused = |symbol: char| symbol.is_control() && !(lines && symbol == '\n');
    if text.chars().count() > most || text.contains(refused) {
        return Err(Failure::invalid(name, &format!("At most {most} characters without control characters are expected")));
    }
    Ok(Some(text))
}

/// `profile`: its texts, as JSON to merge; nothing else of it is stored.
fn profile(fields: &Fields) -> Result<String, Failure> {
    let mut kept = Map::new();
    match fields.0.get("profile") {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            let given = Fields(given.clone());
            for name in ["mobile", "gender", "user_type"] {
                let text = bounded(&given, name, PROFILE_CHARS, false)
                    .map_err(|failure| Failure { field: Some(format!("profile.{name}")), ..failure })?;
                if let Some(text) = text {
                    kept.insert(name.to_owned(), json!(text));
                }
            }
        }
        Some(_) => return Err(Failure::invalid("profile", "An object is expected")),
    }
    Ok(Value::Object(kept).to_string())
}

impl<P: Platform> Call<'_, P> {
    /// The name and the address belong to nobody else.
    pub(super) async fn check_free(&self, me: Option<UserId>, username: Option<&str>, email: Option<&str>) -> Result<(), Failure> {
        let rows = self.read(people::taken(me, username, email)).await?;
        let Some([name_taken, email_taken]) = rows.first().map(Vec::as_slice) else { return Err(unexpected()) };
        if name_taken.as_i64() != Some(0) {
            return Err(Failure::conflict("username", "This name is taken"));
        }
        if email_taken.as_i64() != Some(0) {
            return Err(Failure::conflict("email", "This e-mail address is already registered"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_their_shapes() {
        for (name, good) in [
            ("quietHours", json!({"from": "22:00", "to": "07:30"})),
            ("quietHours", json!({"from": "00:00", "to": "23:59", "timezone": "Europe/Berlin"})),
            ("quietHours", json!(null)),
            ("sounds", json!(false)),
            ("locale", json!("pt-BR")),
            ("theme", json!("dark")),
            ("readReceipts", json!(true)),
        ] {
            assert_eq!(check_setting(name, &mut good.clone()), Ok(()), "{name} {good}");
        }
        for (name, bad) in [
            ("quietHours", json!("22:00")),
            ("quietHours", json!({"from": "22:00"})),
            ("quietHours", json!({"from": "24:00", "to": "07:00"})),
            ("quietHours", json!({"from": "+9:00", "to": "07:00"})),
            ("quietHours", json!({"from": "22:00", "to": "07:00", "days": []})),
            ("quietHours", json!({"from": "22:00", "to": "07:00", "timezone": 1})),
            ("sounds", json!("on")),
            ("locale", json!("x")),
            ("locale", json!({"$gt": ""})),
            ("theme", json!("pink")),
            ("readReceipts", json!(0)),
            ("role", json!("admin")),
            ("role", json!(null)),
        ] {
            assert!(check_setting(name, &mut bad.clone()).is_err(), "{name} {bad}");
        }
    }

    #[test]
    fn a_profile_keeps_its_texts_and_nothing_else() {
        let fields = |value: Value| Fields(Map::from_iter([("profile".to_owned(), value)]));
        let kept = profile(&fields(json!({"mobile": "+49 1", "gender": null, "admin": true, "user_type": "guest"}))).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), json!({"mobile": "+49 1", "user_type": "guest"}));
        for (bad, field) in [
            (json!([]), "profile"),
            (json!({"mobile": 1}), "profile.mobile"),
            (json!({"gender": "x".repeat(101)}), "profile.gender"),
            (json!({"user_type": "a\u{7}"}), "profile.user_type"),
        ] {
            assert_eq!(profile(&fields(bad.clone())).unwrap_err().field.as_deref(), Some(field), "{bad}");
        }
    }
}
