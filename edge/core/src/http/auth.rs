//! R-01 register, R-02 login, R-04 own record.

use uuid::Uuid;
use wire::{ErrorCode, OwnUser, SessionId, Timestamp, UserId};

use serde_json::json;

use super::input::Fields;
use super::reply::Reply;
use super::sessions::{self, Grant};
use super::{Call, unexpected};
use crate::auth::password;
use crate::auth::refresh::RefreshToken;
use crate::error::Failure;
use crate::limits::{self, EMAIL_BYTES, USERNAME_CHARS};
use crate::platform::Platform;
use crate::settings::Registration;
use crate::sql::people::{self, NewSession, NewUser};
use crate::sql::{Statement, Value};

/// Checks in this order: form (400), policy (403), rate (429), names (409).
pub(super) async fn register<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let settings = call.platform.settings();
    sessions::check_mode(call)?;
    let fields = Fields::read(call.request)?;
    let username = check_username(fields.text("username")?)?;
    let email = check_email(fields.text("email")?)?;
    fields.optional_text("inviteToken")?;
    let secret = fields.text("password")?;
    password::check_new(secret, settings)?;
    match settings.registration {
        Registration::Open => {}
        Registration::Invite => {
            return Err(Failure::from(ErrorCode::PermissionDenied).saying("Registration needs an invitation"));
        }
        Registration::Closed => {
            return Err(Failure::from(ErrorCode::PermissionDenied).saying("Registration is closed"));
        }
    }
    call.charge(&[call.bucket("register", &call.counted_address(), limits::REGISTRATIONS_PER_ADDRESS)]).await?;
    call.check_free(None, Some(username), Some(&email)).await?;

    let salt = half(call.platform.random());
    let user = UserId(call.new_id());
    let account = NewUser {
        id: user,
        username,
        email: &email,
        password_hash: password::hash(secret, salt, settings.bcrypt_cost),
    };
    let mut batch = vec![account.insert(call.now)];
    let grant = open_session(call, user, username, 0, &mut batch);
    let rows = call.write(batch).await?;
    let Some(role) = rows.first().and_then(|rows| rows.first()?.first()?.as_str()) else {
        // Someone was faster.
        call.check_free(None, Some(username), Some(&email)).await?;
        return Err(ErrorCode::Conflict.into());
    };
    let own = OwnUser {
        id: user,
        username: username.to_owned(),
        display_name: username.to_owned(),
        avatar_url: None,
        status: String::new(),
        email: Some(email),
        bio: String::new(),
        created_at: call.now,
        presence: PRESENCE.to_owned(),
        role: role.to_owned(),
    };
    signed_in(call, 201, &own, &grant)
}

/// One answer for every cause (N1): the time is that of one hash, whoever asks.
pub(super) async fn login<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let settings = call.platform.settings();
    sessions::check_mode(call)?;
    let fields = Fields::read(call.request)?;
    let email = fields.text("email")?.to_lowercase();
    let secret = fields.text("password")?;
    password::check_shape(secret)?;
    let address = call.counted_address();
    let buckets = [
        call.bucket("login", &format!("{email}\n{address}"), limits::WRONG_LOGINS_PER_ACCOUNT),
        call.bucket("login-address", &address, limits::WRONG_LOGINS_PER_ADDRESS),
    ];
    // Taken before the hash, so that parallel guesses count, and given back when the password was right.
    call.charge(&buckets).await?;

    let rows = call.read(people::credentials(&email)).await?;
    let row = rows.first().map(Vec::as_slice);
    let hash = row.and_then(|row| row.get(1)?.as_str());
    let right = password::verify(secret, hash, settings.bcrypt_cost);
    let wrong = || Failure::from(ErrorCode::Unauthorized).saying("Wrong e-mail address or password");
    let Some([_, _, disabled, version, own @ ..]) = row else { return Err(wrong()) };
    if !right || !disabled.is_null() {
        return Err(wrong());
    }
    let own = own_user(own).ok_or_else(unexpected)?;

    let mut batch = Vec::new();
    if settings.rate_limits {
        batch.extend(buckets.iter().map(|bucket| people::give_back(&bucket.key, bucket.rate)));
    }
    let at = batch.len();
    let version = version.as_u64().ok_or_else(unexpected)?;
    let grant = open_session(call, own.id, &own.username, version, &mut batch);
    batch.push(people::sweep_refresh_tokens(call.now));
    let rows = call.write(batch).await?;
    if rows.get(at).is_none_or(Vec::is_empty) {
        return Err(wrong());
    }
    signed_in(call, 200, &own, &grant)
}

///
pub(super) async fn me<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let caller = call.caller().await?;
    let rows = call.read(people::own_user(caller.user)).await?;
    let own = rows.first().and_then(|row| own_user(row)).ok_or_else(unexpected)?;
    Ok(Reply::json(200, &own))
}

/// What a person without settings shows.
const PRESENCE: &str = "online";

fn signed_in<P: Platform>(call: &Call<'_, P>, status: u16, own: &OwnUser, grant: &Grant) -> Result<Reply, Failure> {
    let (shown, cookie) = sessions::hand_over(call, &grant.refresh);
    let access = grant.access_token(call)?;
    let body = json!({"user": own, "accessToken": access, "refreshToken": shown});
    Ok(cookie.into_iter().fold(Reply::json(status, &body), |reply, cookie| reply.with("set-cookie", cookie)))
}

/// Appends the statements of a new session to a batch.
fn open_session<P: Platform>(
    call: &Call<'_, P>,
    user: UserId,
    username: &str,
    version: u64,
    batch: &mut Vec<Statement>,
) -> Grant {
    let settings = call.platform.settings();
    let refresh = RefreshToken::fresh(call.platform.random());
    let session = SessionId(call.new_id());
    let device: String = call.request.header("user-agent").unwrap_or_default().chars().take(limits::DEVICE_CHARS).collect();
    let new = NewSession {
        id: session,
        user,
        dialect: "chatcall",
        device: &device,
        address: &call.request.address,
        refresh_hash: refresh.stored(&settings.refresh_secret),
        refresh_expires: call.now.plus_ms(settings.refresh_ttl_ms),
    };
    batch.extend(new.insert(call.now));
    Grant { user, username: username.to_owned(), session, version, refresh }
}

/// 1 to 50 of letters, digits, `_ . -`. ASCII: two names that look alike are alike, and NOCASE knows every case.
pub(super) fn check_username(name: &str) -> Result<&str, Failure> {
    let allowed = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if allowed && (1..=USERNAME_CHARS).contains(&name.len()) {
        return Ok(name);
    }
    Err(Failure::invalid("username", "1 to 50 letters, digits, underscores, dots or hyphens are expected"))
}

/// The address in lower case, if it has the form of one. Whether it works, only a message to it can tell.
pub(super) fn check_email(email: &str) -> Result<String, Failure> {
    let is_form = email.rsplit_once('@').is_some_and(|(local, domain)| {
        let plain = |symbol: char| !symbol.is_whitespace() && !symbol.is_control() && !"@,;:<>()[]\\\"".contains(symbol);
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|symbol| symbol.is_alphanumeric() || symbol == '-')
        };
        (1..=64).contains(&local.len()) && local.chars().all(plain) && domain.contains('.') && domain.split('.').all(label)
    });
    let folded = email.to_lowercase();
    if is_form && folded.len() <= EMAIL_BYTES {
        return Ok(folded);
    }
    Err(Failure::invalid("email", "A valid e-mail address is expected"))
}

/// Columns of [`people::own_user`].
pub(super) fn own_user(row: &[Value]) -> Option<OwnUser> {
    let [id, username, display_name, avatar_url, status, email, bio, created_at, role] = row else { return None };
    Some(OwnUser {
        id: UserId::parse(id.as_str()?)?,
        username: username.as_str()?.to_owned(),
        display_name: display_name.as_str()?.to_owned(),
        avatar_url: avatar_url.as_str().map(str::to_owned),
        status: status.as_str()?.to_owned(),
        email: email.as_str().map(str::to_owned),
        bio: bio.as_str()?.to_owned(),
        created_at: Timestamp(created_at.as_u64()?),
        presence: PRESENCE.to_owned(),
        role: role.as_str()?.to_owned(),
    })
}

impl<P: Platform> Call<'_, P> {
    /// A fresh UUIDv7.
    pub(super) fn new_id(&self) -> Uuid {
        let [tail, counter] = numbers(self.platform.random());
        wire::uuid_v7(self.now.0, (counter & 0xfff) as u16, tail)
    }
}

fn numbers(random: [u8; 32]) -> [u64; 2] {
    let [tail, counter] = [0, 8].map(|at| random.iter().skip(at).take(8).fold(0, |n, byte| n << 8 | u64::from(*byte)));
    [tail, counter]
}

pub(super) fn half(random: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&random[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_have_their_form() {
        for good in ["a", "Ann_B.c-9", &"x".repeat(50)] {
            assert!(check_username(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "ann@x", "é", "a\n", "<b>", &"x".repeat(51)] {
            assert_eq!(check_username(bad).unwrap_err().field.as_deref(), Some("username"), "{bad}");
        }
    }

    #[test]
    fn addresses_have_their_form_and_are_folded() {
        assert_eq!(check_email("Ann+x@Example.COM").unwrap(), "ann+x@example.com");
        for bad in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "ann@localhost",
            "a b@example.com",
            "ann@@example.com",
            "ann@example..com",
            "ann@.example.com",
            "ann@-x.com",
            "ann@exa mple.com",
            "ann\r\n@example.com",
            &format!("{}@example.com", "x".repeat(65)),
            &format!("ann@{}.com", "x.".repeat(130)),
        ] {
            assert_eq!(check_email(bad).unwrap_err().field.as_deref(), Some("email"), "{bad}");
        }
    }
}
