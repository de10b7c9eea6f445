//! Which handler answers which method and path: one table.

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Register,
    Login,
    Me,
    Refresh,
    Logout,
    LogoutAll,
    Sessions,
    EndSession,
    ChangePassword,
    RequestReset,
    ResetPassword,
    SearchUsers,
    ShowUser,
    ChangeProfile,
    Settings,
    ChangeSettings,
    Contacts,
    PendingContacts,
    BlockedContacts,
    RequestContact,
    AnswerContact,
    RemoveContact,
    Conversations,
    CreateConversation,
    Conversation,
    UpdateConversation,
    AddMembers,
    RemoveMember,
    SetRole,
    LeaveConversation,
    SetMine,
    MarkRead,
    History,
    SendMessage,
    Events,
    EditMessage,
    DeleteMessage,
    Edits,
    React,
    Unreact,
    Search,
    Health,
    Info,
    Openapi,
    Page,
}

impl Endpoint {
    /// Whether there is nothing to answer without conversations and contacts.
    pub(super) fn needs_objects(self) -> bool {
        match self {
            Self::Contacts
            | Self::PendingContacts
            | Self::BlockedContacts
            | Self::RequestContact
            | Self::AnswerContact
            | Self::RemoveContact
            | Self::Conversations
            | Self::CreateConversation
            | Self::Conversation
            | Self::UpdateConversation
            | Self::AddMembers
            | Self::RemoveMember
            | Self::SetRole
            | Self::LeaveConversation
            | Self::SetMine
            | Self::MarkRead
            | Self::History
            | Self::SendMessage
            | Self::Events
            | Self::EditMessage
            | Self::DeleteMessage
            | Self::Edits
            | Self::React
            | Self::Unreact
            | Self::Search => true,
            Self::Register
            | Self::Login
            | Self::Me
            | Self::Refresh
            | Self::Logout
            | Self::LogoutAll
            | Self::Sessions
            | Self::EndSession
            | Self::ChangePassword
            | Self::RequestReset
            | Self::ResetPassword
            | Self::SearchUsers
            | Self::ShowUser
            | Self::ChangeProfile
            | Self::Settings
            | Self::ChangeSettings
            | Self::Health
            | Self::Info
            | Self::Openapi
            | Self::Page => false,
        }
    }
}

/// Method, path with `:parameters`, handler. A parameter is one segment; the first path that fits wins, and words come before
/// parameters. Each row has its operation in `schema/openapi.json`, `operationId` is the endpoint's name.
const ROUTES: &[(&str, &str, Endpoint)] = &[
    ("POST", "/api/auth/register", Endpoint::Register),
    ("POST", "/api/auth/login", Endpoint::Login),
    ("POST", "/api/auth/refresh", Endpoint::Refresh),
    ("GET", "/api/auth/me", Endpoint::Me),
    ("POST", "/api/auth/logout", Endpoint::Logout),
    ("POST", "/api/auth/logout-all", Endpoint::LogoutAll),
    ("GET", "/api/auth/sessions", Endpoint::Sessions),
    ("DELETE", "/api/auth/sessions/:sid", Endpoint::EndSession),
    ("POST", "/api/auth/password", Endpoint::ChangePassword),
    ("POST", "/api/auth/reset/request", Endpoint::RequestReset),
    ("POST", "/api/auth/reset", Endpoint::ResetPassword),
    ("GET", "/api/users/search", Endpoint::SearchUsers),
    ("PATCH", "/api/users/me", Endpoint::ChangeProfile),
    ("GET", "/api/users/me/settings", Endpoint::Settings),
    ("PATCH", "/api/users/me/settings", Endpoint::ChangeSettings),
    ("GET", "/api/users/contacts", Endpoint::Contacts),
    ("GET", "/api/users/contacts/pending", Endpoint::PendingContacts),
    ("GET", "/api/users/contacts/blocked", Endpoint::BlockedContacts),
    ("POST", "/api/users/contacts/:contactId", Endpoint::RequestContact),
    ("PATCH", "/api/users/contacts/:contactId", Endpoint::AnswerContact),
    ("DELETE", "/api/users/contacts/:contactId", Endpoint::RemoveContact),
    ("GET", "/api/users/:id", Endpoint::ShowUser),
    ("GET", "/api/chats/conversations", Endpoint::Conversations),
    ("POST", "/api/chats/conversations", Endpoint::CreateConversation),
    ("GET", "/api/chats/conversations/:id", Endpoint::Conversation),
    ("PATCH", "/api/chats/conversations/:id", Endpoint::UpdateConversation),
    ("POST", "/api/chats/conversations/:id/members", Endpoint::AddMembers),
    ("DELETE", "/api/chats/conversations/:id/members/:userId", Endpoint::RemoveMember),
    ("PATCH", "/api/chats/conversations/:id/members/:userId", Endpoint::SetRole),
    ("POST", "/api/chats/conversations/:id/leave", Endpoint::LeaveConversation),
    ("PATCH", "/api/chats/conversations/:id/me", Endpoint::SetMine),
    ("POST", "/api/chats/conversations/:id/read", Endpoint::MarkRead),
    ("GET", "/api/chats/conversations/:id/messages", Endpoint::History),
    ("POST", "/api/chats/conversations/:id/messages", Endpoint::SendMessage),
    ("GET", "/api/chats/conversations/:id/events", Endpoint::Events),
    ("PATCH", "/api/chats/messages/:id", Endpoint::EditMessage),
    ("DELETE", "/api/chats/messages/:id", Endpoint::DeleteMessage),
    ("GET", "/api/chats/messages/:id/edits", Endpoint::Edits),
    ("PUT", "/api/chats/messages/:id/reactions/:emoji", Endpoint::React),
    ("DELETE", "/api/chats/messages/:id/reactions/:emoji", Endpoint::Unreact),
    ("GET", "/api/chats/search", Endpoint::Search),
    ("GET", "/api/health", Endpoint::Health),
    ("GET", "/health", Endpoint::Health),
    ("GET", "/api/info", Endpoint::Info),
    ("GET", "/api/openapi.json", Endpoint::Openapi),
];

/// Paths that never answer the web client, with everything below them.
const NOT_PAGES: [&str; 3] = ["/api", "/health", "/socket.io"];

/// What the table says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The handler and the decoded parameters.
    Endpoint(Endpoint, Vec<String>),
    /// The path exists with these methods only.
    OtherMethods(Vec<&'static str>),
    Nothing,
}

/// Finds the handler. `HEAD` is `GET` without the body. The first path that fits is the one, whatever its methods are.
pub(super) fn find(method: &str, path: &str) -> Found {
    let wanted = if method == "HEAD" { "GET" } else { method };
    let (mut first, mut allowed) = (None, Vec::new());
    for (known, pattern, endpoint) in ROUTES {
        if first.is_some_and(|first| first != *pattern) {
            continue;
        }
        if let Some(params) = matches(pattern, path) {
            if *known == wanted {
                return Found::Endpoint(*endpoint, params);
            }
            first = Some(*pattern);
            allowed.push(*known);
        }
    }
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if allowed.is_empty() {
        if NOT_PAGES.into_iter().any(below) {
            return Found::Nothing;
        }
        if wanted == "GET" {
            return Found::Endpoint(Endpoint::Page, Vec::new());
        }
        allowed.push("GET");
    }
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    Found::OtherMethods(allowed)
}

/// Whether a request computes a password hash: hosts run these in a pool of their own, a few at once.
#[must_use]
pub fn hashes_password(method: &str, path: &str) -> bool {
    use Endpoint::{ChangePassword, ChangeProfile, Login, Register, ResetPassword};
    matches!(find(method, path), Found::Endpoint(Register | Login | ChangePassword | ResetPassword | ChangeProfile, _))
}

fn matches(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut params = Vec::new();
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        let segment = segments.next()?;
        if wanted.starts_with(':') {
            if segment.is_empty() {
                return None;
            }
            params.push(super::input::percent_decode(segment, false));
        } else if wanted != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(params)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    const DOCUMENT: &str = include_str!("../../../../schema/openapi.json");

    /// `RequestContact` as an `operationId`; a second path of the same endpoint says of what it is.
    fn is_named(id: &str, endpoint: Endpoint) -> bool {
        let name = format!("{endpoint:?}");
        let rest = id.strip_prefix(&name[..1].to_lowercase()).and_then(|rest| rest.strip_prefix(&name[1..]));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("Of"))
    }

    #[test]
    fn the_document_describes_every_route_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                described.insert((method.to_uppercase(), path.clone()));
                assert!(operation["responses"]["default"].is_object(), "{method} {path}: errors are missing");
                let resolve = |parameter: &Value| match parameter["$ref"].as_str() {
                    Some(at) => document.pointer(at.trim_start_matches('#')).unwrap_or_else(|| panic!("{at}")).clone(),
                    None => parameter.clone(),
                };
                let parameters: Vec<Value> = operation["parameters"].as_array().into_iter().flatten().map(resolve).collect();
                let in_path = parameters.iter().filter(|one| one["in"] == "path").map(|one| format!("{{{}}}", one["name"].as_str().unwrap()));
                let wanted = path.split('/').filter(|segment| segment.starts_with('{')).map(str::to_owned);
                assert_eq!(in_path.collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "{method} {path}: parameters");
            }
        }
        for (method, pattern, endpoint) in ROUTES {
            let braced = |segment: &str| segment.strip_prefix(':').map_or(segment.to_owned(), |name| format!("{{{name}}}"));
            let path = pattern.split('/').map(braced).collect::<Vec<_>>().join("/");
            assert!(described.remove(&((*method).to_owned(), path.clone())), "schema/openapi.json has no {method} {path}");
            let id = document["paths"][&path][method.to_lowercase()]["operationId"].as_str().unwrap_or_default();
            assert!(is_named(id, *endpoint), "{method} {path}: the operationId of {endpoint:?} is not {id:?}");
        }
        assert!(described.is_empty(), "no routes: {described:?}");
    }

    #[test]
    fn paths_match_whole_segments_and_decode_parameters() {
        let found = find("GET", "/api/chats/conversations/a%20b/messages");
        assert_eq!(found, Found::Endpoint(Endpoint::History, vec!["a b".to_owned()]));
        for nothing in ["/api/chats/conversations/", "/api/chats/conversations//messages", "/api/auth/me/", "/api", "/api/x"] {
            assert_eq!(find("GET", nothing), Found::Nothing, "{nothing}");
        }
    }

    #[test]
    fn other_methods_are_named() {
        assert_eq!(find("DELETE", "/api/chats/conversations"), Found::OtherMethods(vec!["GET", "POST", "HEAD"]));
        assert_eq!(find("POST", "/anything"), Found::OtherMethods(vec!["GET", "HEAD"]));
        assert_eq!(find("HEAD", "/api/health"), Found::Endpoint(Endpoint::Health, vec![]));
    }

    #[test]
    fn everything_else_is_the_page() {
        for page in ["/", "/login", "/apis", "/healthy", "/socket.iox", "/c/1?x"] {
            assert_eq!(find("GET", page), Found::Endpoint(Endpoint::Page, vec![]), "{page}");
        }
        for nothing in ["/api/nope", "/health/x", "/socket.io/", "/socket.io"] {
            assert_eq!(find("GET", nothing), Found::Nothing, "{nothing}");
        }
    }

    #[test]
    fn whatever_asks_for_a_password_hashes() {
        for path in ["register", "login", "password", "reset"] {
            assert!(hashes_password("POST", &format!("/api/auth/{path}")), "{path}");
        }
        assert!(hashes_password("PATCH", "/api/users/me"));
        for (method, path) in [("GET", "login"), ("POST", "refresh"), ("POST", "reset/request"), ("GET", "sessions")] {
            assert!(!hashes_password(method, &format!("/api/auth/{path}")), "{path}");
        }
    }

    #[test]
    fn words_win_over_parameters() {
        assert_eq!(find("GET", "/api/users/search"), Found::Endpoint(Endpoint::SearchUsers, vec![]));
        assert_eq!(find("GET", "/api/users/contacts"), Found::Endpoint(Endpoint::Contacts, vec![]));
        assert_eq!(find("GET", "/api/users/me"), Found::OtherMethods(vec!["PATCH"]));
        assert_eq!(find("POST", "/api/users/contacts/pending"), Found::OtherMethods(vec!["GET", "HEAD"]));
        assert_eq!(find("PUT", "/api/users/contacts/x"), Found::OtherMethods(vec!["POST", "PATCH", "DELETE"]));
    }
}
