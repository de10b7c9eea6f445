//! G-16: passwords that change, and links for those who forgot theirs. The token of a link is a keyed hash of the mail that
//! brings it, so the database holds neither; whoever sends the mail computes it ([`reset_token`]).

use wire::{ErrorCode, SessionId, UserId};

use super::auth::half;
use super::caller::Caller;
use super::input::Fields;
use super::reply::Reply;
use super::{Call, sessions, unexpected};
use crate::auth::password;
use crate::auth::refresh::keyed;
use crate::error::Failure;
use crate::limits;
use crate::platform::Platform;
use crate::sql::{Statement, people};

/// The token of the link in a mail.
#[must_use]
pub fn reset_token(refresh_secret: &str, mail: &str) -> String {
    keyed(refresh_secret, "reset token", mail.as_bytes())
}

fn stored(refresh_secret: &str, token: &str) -> String {
    keyed(refresh_secret, "stored reset", token.as_bytes())
}

/// Asks for `currentPassword` and compares it; answers the hash it has. Wrong ones count; what the right one gives back is
/// appended to the batch.
pub(super) async fn confirm<P: Platform>(
    call: &Call<'_, P>,
    me: &Caller,
    fields: &Fields,
    batch: &mut Vec<Statement>,
) -> Result<String, Failure> {
    let Some(secret) = current(fields)? else { return Err(ErrorCode::ReauthRequired.into()) };
    let settings = call.platform.settings();
    let bucket = call.bucket("reauth", &me.user.to_string(), limits::WRONG_LOGINS_PER_ACCOUNT);
    call.charge(std::slice::from_ref(&bucket)).await?;
    let rows = call.read(people::password_of(me.user)).await?;
    let hash = rows.first().and_then(|row| row.first()?.as_str());
    if !password::verify(secret, hash, settings.bcrypt_cost) {
        return Err(Failure::from(ErrorCode::ReauthRequired).saying("Wrong current password"));
    }
    if settings.rate_limits {
        batch.push(people::give_back(&bucket.key, bucket.rate));
    }
    hash.map(str::to_owned).ok_or_else(unexpected)
}

/// `currentPassword`, which is checked for its form wherever it may stand.
pub(super) fn current(fields: &Fields) -> Result<Option<&str>, Failure> {
    let secret = fields.optional_text("currentPassword")?;
    secret.map_or(Ok(()), password::check_shape).map_err(|failure| in_field(failure, "currentPassword"))?;
    Ok(secret)
}

/// Changes the password; every other session ends.
pub(super) async fn change<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let fields = Fields::read(call.request)?;
    let new = new_password(call, &fields)?;
    let mut batch = Vec::new();
    let old = confirm(call, &me, &fields, &mut batch).await?;
    let new = hashed(call, new);
    let at = batch.len();
    batch.extend(people::change_password(me.user, &old, &new, me.session, call.now));
    let rows = call.write(batch).await?;
    if rows.get(at).is_none_or(Vec::is_empty) {
        return Err(ErrorCode::ReauthRequired.into());
    }
    let ended = rows.get(at + 1).into_iter().flatten();
    let ended: Vec<SessionId> = ended.filter_map(|row| SessionId::parse(row.first()?.as_str()?)).collect();
    if !ended.is_empty() {
        sessions::revoke(call, me.user, Some(ended), None, "password").await?;
    }
    Ok(Reply::empty(204))
}

/// The same answer and the same work whether or not somebody has this address.
pub(super) async fn request_reset<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let fields = Fields::read(call.request)?;
    let email = fields.text("email")?.to_lowercase();
    call.charge(&[call.bucket("reset", &email, limits::RESETS_PER_ACCOUNT)]).await?;
    let secret = &call.platform.settings().refresh_secret;
    let mail = keyed(secret, "mail", &call.platform.random());
    let hash = stored(secret, &reset_token(secret, &mail));
    call.write(people::request_reset(&email, &hash, &mail, call.now)).await?;
    Ok(Reply::empty(202))
}

/// Sets the password with the token of a link, once; every session ends.
pub(super) async fn reset<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let fields = Fields::read(call.request)?;
    let over = || Failure::invalid("token", "This link is not valid any more");
    let hash = stored(&call.platform.settings().refresh_secret, fields.text("token")?);
    let new = new_password(call, &fields)?;
    let rows = call.read(people::reset(&hash, call.now)).await?;
    let user = rows.first().and_then(|row| UserId::parse(row.first()?.as_str()?)).ok_or_else(over)?;
    let rows = call.write(people::use_reset(user, &hash, &hashed(call, new), call.now).into()).await?;
    let version = rows.first().and_then(|rows| rows.first()?.first()?.as_u64()).ok_or_else(over)?;
    sessions::revoke(call, user, None, Some(version), "password").await?;
    Ok(Reply::empty(204))
}

fn new_password<'a, P: Platform>(call: &Call<'_, P>, fields: &'a Fields) -> Result<&'a str, Failure> {
    let new = fields.text("newPassword")?;
    password::check_new(new, call.platform.settings()).map_err(|failure| in_field(failure, "newPassword"))?;
    Ok(new)
}

fn in_field(failure: Failure, name: &str) -> Failure {
    Failure { field: Some(name.to_owned()), ..failure }
}

fn hashed<P: Platform>(call: &Call<'_, P>, new: &str) -> String {
    password::hash(new, half(call.platform.random()), call.platform.settings().bcrypt_cost)
}
