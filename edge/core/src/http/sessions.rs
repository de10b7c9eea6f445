//! R-03 refresh, G-01 logout, G-15 sessions: tokens of a session, and its end. In cookie mode (`X-Auth-Mode: cookie`) the refresh token
//! lives in an HttpOnly cookie of `/api/auth`, and the request must come from an allowed origin.

use serde_json::json;
use wire::{ErrorCode, SessionId, Timestamp, UserId};

use super::input::{Fields, cookie};
use super::reply::Reply;
use super::{Call, cors, lost, rates, unexpected};
use crate::auth::refresh::{RefreshToken, client_instance};
use crate::auth::{Claims, sign_access};
use crate::error::Failure;
use crate::limits::{REFRESHES_PER_USER, REVOKE_TRIES};
use crate::objects::{self, Message};
use crate::platform::Platform;
use crate::sql::people::{self, Outcome, Refresh};

const COOKIE: &str = "chatcall_refresh";

/// What a session hands out.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) user: UserId,
    pub(super) username: String,
    pub(super) session: SessionId,
    pub(super) version: u64,
    pub(super) refresh: RefreshToken,
}

impl Grant {
    pub(super) fn access_token<P: Platform>(&self, call: &Call<'_, P>) -> Result<String, Failure> {
        let settings = call.platform.settings();
        let claims = Claims {
            user: self.user,
            username: self.username.clone(),
            session: self.session,
            version: self.version,
            expires: call.now.plus_ms(settings.access_ttl_ms),
        };
        sign_access(&claims, call.new_id(), settings, call.now)
    }
}

/// Always a new refresh token, and always the same one for the same request.
pub(super) async fn refresh<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    check_mode(call)?;
    let settings = call.platform.settings();
    let Some(shown) = shown_token(call)? else { return Err(ErrorCode::Unauthorized.into()) };
    let successor = shown.successor(&settings.refresh_secret);
    let request = Refresh {
        shown: shown.stored(&settings.refresh_secret),
        successor: successor.stored(&settings.refresh_secret),
        client: client_instance(
            &settings.refresh_secret,
            call.request.header("x-client-id"),
            call.request.header("user-agent"),
            &call.request.address,
        ),
        expires: call.now.plus_ms(settings.refresh_ttl_ms),
        limited: settings.rate_limits,
    };
    let rows = call.write(request.statements(call.now)).await?;
    match Refresh::outcome(&rows).ok_or_else(unexpected)? {
        Outcome::Refused => Err(ErrorCode::Unauthorized.into()),
        Outcome::Limited { tokens } => Err(rates::refused(REFRESHES_PER_USER, tokens)),
        Outcome::Reused { user, session, newly } => {
            if newly {
                revoke(call, user, Some(vec![session]), None, "refresh_reused").await?;
            }
            Err(ErrorCode::RefreshReused.into())
        }
        Outcome::Rotated { user, session, username, version } => {
            let grant = Grant { user, username, session, version, refresh: successor };
            let (shown, cookie) = hand_over(call, &grant.refresh);
            let body = json!({"accessToken": grant.access_token(call)?, "refreshToken": shown});
            Ok(cookie.into_iter().fold(Reply::json(200, &body), |reply, cookie| reply.with("set-cookie", cookie)))
        }
    }
}

/// G-01: ends this session, and that of `refreshToken` if it is another one of the same person. The token alone decides, so
/// that a repeated request finishes what a lost one began.
pub(super) async fn logout<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    check_mode(call)?;
    let claims = call.claims()?;
    let hash = shown_token(call)?.map(|token| token.stored(&call.platform.settings().refresh_secret));
    let rows = call.write(vec![people::end_session(claims.user, claims.session, hash, call.now)]).await?;
    let mut sessions = vec![claims.session];
    for row in rows.iter().flatten() {
        let ended = row.first().and_then(|id| SessionId::parse(id.as_str()?)).ok_or_else(unexpected)?;
        if ended != claims.session {
            sessions.push(ended);
        }
    }
    revoke(call, claims.user, Some(sessions), None, "logout").await?;
    Ok(goodbye(call))
}

/// G-01: ends every session of the caller, whichever token the body names.
pub(super) async fn logout_all<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    check_mode(call)?;
    let caller = call.caller().await?;
    shown_token(call)?;
    let rows = call.write(people::end_all_sessions(caller.user, call.now).into()).await?;
    let version = rows.first().and_then(|rows| rows.first()?.first()?.as_u64()).ok_or_else(unexpected)?;
    revoke(call, caller.user, None, Some(version), "logout_all").await?;
    Ok(goodbye(call))
}

/// Refuses cookie mode of a foreign page. Without `Origin` it is no page of another origin: browsers name it with each
/// request that is not a plain GET.
pub(super) fn check_mode<P: Platform>(call: &Call<'_, P>) -> Result<(), Failure> {
    let (origin, host) = (call.request.header("origin"), call.request.header("host"));
    if is_cookie_mode(call) && !cors::origin_allowed(origin, host, call.platform.settings()) {
        return Err(Failure::from(ErrorCode::PermissionDenied).saying("This origin may not use cookies"));
    }
    Ok(())
}

/// The refresh token as the body shows it, and the cookie that holds it in cookie mode.
pub(super) fn hand_over<P: Platform>(call: &Call<'_, P>, token: &RefreshToken) -> (Option<String>, Option<String>) {
    if is_cookie_mode(call) {
        let seconds = call.platform.settings().refresh_ttl_ms / 1000;
        (None, Some(set_cookie(&token.reveal(), seconds)))
    } else {
        (Some(token.reveal()), None)
    }
}

fn is_cookie_mode<P: Platform>(call: &Call<'_, P>) -> bool {
    call.request.header("x-auth-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("cookie"))
}

fn set_cookie(value: &str, seconds: u64) -> String {
    format!("{COOKIE}={value}; Path=/api/auth; Max-Age={seconds}; HttpOnly; Secure; SameSite=Strict")
}

fn goodbye<P: Platform>(call: &Call<'_, P>) -> Reply {
    let reply = Reply::empty(204);
    if is_cookie_mode(call) { reply.with("set-cookie", set_cookie("", 0)) } else { reply }
}

/// The refresh token of the body, else of the cookie in cookie mode. What has not its form is no token.
fn shown_token<P: Platform>(call: &Call<'_, P>) -> Result<Option<RefreshToken>, Failure> {
    let fields = Fields::read_optional(call.request)?;
    let shown = match fields.optional_text("refreshToken")? {
        None if is_cookie_mode(call) => cookie(call.request, COOKIE),
        shown => shown,
    };
    Ok(shown.and_then(RefreshToken::parse))
}

/// G-15.
pub(super) async fn list<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    // Refreshing is what a session is seen by; whatever was not refreshed for longer cannot be any more.
    let since = Timestamp(call.now.0.saturating_sub(call.platform.settings().refresh_ttl_ms));
    Ok(Reply::rows(&call.read(people::sessions(me.user, me.session, since)).await?))
}

/// G-15: ends one session of the caller. A repeated request finishes what a lost one began.
pub(super) async fn end<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let session = call.params.first().and_then(|text| SessionId::parse(text)).ok_or(ErrorCode::NotFound)?;
    let rows = call.write(vec![people::end_own_session(me.user, session, call.now)]).await?;
    if rows.first().is_none_or(Vec::is_empty) {
        return Err(ErrorCode::NotFound.into());
    }
    revoke(call, me.user, Some(vec![session]), None, "revoked").await?;
    Ok(Reply::empty(204))
}

/// Tells the User, which stores it and closes the sockets. The database knows already.
pub(super) async fn revoke<P: Platform>(
    call: &Call<'_, P>,
    user: UserId,
    sessions: Option<Vec<SessionId>>,
    version: Option<u64>,
    reason: &str,
) -> Result<(), Failure> {
    tell_user(call, user, Message::Revoke { sessions, version, reason: reason.to_owned() }).await
}

/// Tells the User of what the database knows already. Without objects nobody needs to hear of it.
pub(super) async fn tell_user<P: Platform>(call: &Call<'_, P>, user: UserId, msg: Message) -> Result<(), Failure> {
    if call.platform.settings().without_objects.is_some() {
        return Ok(());
    }
    let object = objects::user(user);
    let mut last = unexpected();
    for _ in 0..REVOKE_TRIES {
        match call.platform.object(object.kind, &object.name, msg.clone()).await {
            Ok(Message::Done) => return Ok(()),
            Ok(Message::Refused { failure }) => return Err(failure),
            Ok(_) => return Err(unexpected()),
            Err(error) => last = lost(error, ErrorCode::NodeUnavailable),
        }
    }
    Err(last)
}
