//! REST handlers: requests in, responses out, over one [`Platform`]. No handler writes what has an audience: that goes to
//! an object (`design.md` section 3).
//!
//! A host calls [`handle`] for everything but `/socket.io/`, and asks [`hashes_password`] which requests belong in its
//! pool for hashing.

mod auth;
mod caller;
mod changes;
mod contacts;
mod conversations;
pub mod cors;
mod groups;
mod headers;
mod input;
mod messages;
mod passwords;
mod presence;
mod rates;
mod reply;
mod route;
mod search;
mod sessions;
mod system;
mod users;

use wire::{ErrorCode, Timestamp};

use crate::error::{Failure, Shape};
use crate::limits::HTTP_BODY_BYTES;
use crate::object::{CallError, ObjectId};
use crate::objects::Message;
use crate::platform::{Platform, StoreError};
use crate::settings::Settings;
use crate::sql::{Rows, Statement};
use reply::Reply;
use route::{Endpoint, Found};

pub use crate::object::Response;
pub use passwords::reset_token;
pub use route::hashes_password;

/// A request as a host hands it over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// In upper case.
    pub method: String,
    /// As sent, percent-encoded, without query.
    pub path: String,
    /// Raw query string without `?`.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Complete, or cut after one byte more than [`HTTP_BODY_BYTES`], which is refused.
    pub body: Vec<u8>,
    /// Client address after the configured number of trusted proxies.
    pub address: String,
}

impl Request {
    /// The first header of this (lower-case) name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Answers one request.
pub async fn handle(platform: &impl Platform, request: Request) -> Response {
    let now = platform.now();
    let mut call = Call { platform, request: &request, params: Vec::new(), now };
    let reply = if cors::is_preflight(&request) {
        Reply::empty(204)
    } else {
        match route::find(&request.method, &request.path) {
            Found::Endpoint(endpoint, params) => {
                call.params = params;
                call.answer(endpoint).await.unwrap_or_else(|failure| call.failed(&failure))
            }
            Found::OtherMethods(allowed) => {
                call.failed(&ErrorCode::MethodNotAllowed.into()).with("allow", allowed.join(", "))
            }
            Found::Nothing => call.failed(&ErrorCode::NotFound.into()),
        }
    };
    headers::finish(reply, &request, platform.settings())
}

/// The answer of a host that cannot work as it is set up: 503 in the shape of the path, with a sentence for the operator.
#[must_use]
pub fn unavailable(request: &Request, sentence: &str, settings: &Settings, now: Timestamp) -> Response {
    let failure = again_soon(ErrorCode::NodeUnavailable).saying(sentence);
    headers::finish(Reply::failure(&failure, Shape::of_path(&request.path), now), request, settings)
}

/// A request on its way through a handler.
struct Call<'a, P> {
    platform: &'a P,
    request: &'a Request,
    /// Decoded `:parameters` of the path, in order.
    params: Vec<String>,
    now: Timestamp,
}

impl<P: Platform> Call<'_, P> {
    async fn answer(&self, endpoint: Endpoint) -> Result<Reply, Failure> {
        if self.request.body.len() > HTTP_BODY_BYTES {
            return Err(Failure { limit: Some(HTTP_BODY_BYTES as u64), ..ErrorCode::PayloadTooLarge.into() });
        }
        if endpoint.needs_objects()
            && let Some(why) = &self.platform.settings().without_objects
        {
            return Err(Failure::from(ErrorCode::NodeUnavailable).saying(why));
        }
        match endpoint {
            Endpoint::Register => auth::register(self).await,
            Endpoint::Login => auth::login(self).await,
            Endpoint::Me => auth::me(self).await,
            Endpoint::Refresh => sessions::refresh(self).await,
            Endpoint::Logout => sessions::logout(self).await,
            Endpoint::LogoutAll => sessions::logout_all(self).await,
            Endpoint::Sessions => sessions::list(self).await,
            Endpoint::EndSession => sessions::end(self).await,
            Endpoint::ChangePassword => passwords::change(self).await,
            Endpoint::RequestReset => passwords::request_reset(self).await,
            Endpoint::ResetPassword => passwords::reset(self).await,
            Endpoint::SearchUsers => users::search(self).await,
            Endpoint::ShowUser => users::show(self).await,
            Endpoint::ChangeProfile => users::change(self).await,
            Endpoint::Settings => users::settings(self).await,
            Endpoint::ChangeSettings => users::change_settings(self).await,
            Endpoint::Contacts => contacts::list(self).await,
            Endpoint::PendingContacts => contacts::pending(self).await,
            Endpoint::BlockedContacts => contacts::blocked(self).await,
            Endpoint::RemoveContact => contacts::remove(self).await,
            Endpoint::RequestContact => contacts::request(self).await,
            Endpoint::AnswerContact => contacts::answer(self).await,
            Endpoint::Conversations => conversations::list(self).await,
            Endpoint::CreateConversation => conversations::create(self).await,
            Endpoint::Conversation => groups::show(self).await,
            Endpoint::UpdateConversation => groups::update(self).await,
            Endpoint::AddMembers => groups::add(self).await,
            Endpoint::RemoveMember => groups::remove(self).await,
            Endpoint::SetRole => groups::set_role(self).await,
            Endpoint::LeaveConversation => groups::leave(self).await,
            Endpoint::SetMine => groups::set_mine(self).await,
            Endpoint::MarkRead => groups::mark_read(self).await,
            Endpoint::History => messages::history(self).await,
            Endpoint::SendMessage => messages::send(self).await,
            Endpoint::Events => messages::events(self).await,
            Endpoint::EditMessage => changes::edit(self).await,
            Endpoint::DeleteMessage => changes::delete(self).await,
            Endpoint::Edits => changes::edits(self).await,
            Endpoint::React => changes::react(self, true).await,
            Endpoint::Unreact => changes::react(self, false).await,
            Endpoint::Search => search::messages(self).await,
            Endpoint::Health => Ok(system::health(self).await),
            Endpoint::Info => Ok(system::info(self)),
            Endpoint::Openapi => system::openapi(self),
            Endpoint::Page => Ok(system::page(self)),
        }
    }

    fn failed(&self, failure: &Failure) -> Reply {
        Reply::failure(failure, Shape::of_path(&self.request.path), self.now)
    }

    async fn read(&self, statement: Statement) -> Result<Rows, Failure> {
        self.platform.read(statement).await.map_err(stored)
    }

    async fn write(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, Failure> {
        self.platform.people_batch(statements).await.map_err(stored)
    }

    /// Asks an object; a refusal is a failure.
    async fn ask(&self, object: &ObjectId, msg: Message) -> Result<Message, Failure> {
        match self.platform.object(object.kind, &object.name, msg).await {
            Ok(Message::Refused { failure }) => Err(failure),
            Ok(reply) => Ok(reply),
            Err(error) => Err(lost(error, ErrorCode::NodeUnavailable)),
        }
    }
}

/// What the client learns of a database that did not do it: to come again.
fn stored(error: StoreError) -> Failure {
    match error {
        StoreError::Conflict => ErrorCode::Conflict.into(),
        StoreError::ReadOnly | StoreError::Unavailable(_) => again_soon(ErrorCode::NodeUnavailable),
    }
}

/// What the client learns of an object that did not answer.
fn lost(error: CallError, code: ErrorCode) -> Failure {
    match error {
        CallError::Failed | CallError::Lost | CallError::Overloaded => again_soon(code),
    }
}

fn again_soon(code: ErrorCode) -> Failure {
    Failure { retry_after: Some(1), ..code.into() }
}

/// A reply that the callee's contract excludes, or a row that the schema excludes.
fn unexpected() -> Failure {
    ErrorCode::InternalError.into()
}
