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
    RequestContact,
    AnswerContact,
    Conversations,
    CreateConversation,
    History,
    SendMessage,
    Events,
    Search,
    Health,
    Info,
    Page,
}

impl Endpoint {
    /// Whether there is nothing to answer without conversations and contacts.
    pub(super) fn needs_objects(self) -> bool {
        match self {
            Self::RequestContact
            | Self::AnswerContact
            | Self::Conversations
            | Self::CreateConversation
            | Self::History
            | Self::SendMessage
            | Self::Events
            | Self::Search => true,
            Self::Register
            | Self::Login
            | Self::Me
            | Self::Refresh
            | Self::Logout
            | Self::LogoutAll
            | Self::Health
            | Self::Info
            | Self::Page => false,
        }
    }
}

/// Method, path with `:parameters`, handler. A parameter is one segment.
const ROUTES: &[(&str, &str, Endpoint)] = &[
    ("POST", "/api/auth/register", Endpoint::Register),
    ("POST", "/api/auth/login", Endpoint::Login),
    ("POST", "/api/auth/refresh", Endpoint::Refresh),
    ("GET", "/api/auth/me", Endpoint::Me),
    ("POST", "/api/auth/logout", Endpoint::Logout),
    ("POST", "/api/auth/logout-all", Endpoint::LogoutAll),
    ("POST", "/api/users/contacts/:contactId", Endpoint::RequestContact),
    ("PATCH", "/api/users/contacts/:contactId", Endpoint::AnswerContact),
    ("GET", "/api/chats/conversations", Endpoint::Conversations),
    ("POST", "/api/chats/conversations", Endpoint::CreateConversation),
    ("GET", "/api/chats/conversations/:id/messages", Endpoint::History),
    ("POST", "/api/chats/conversations/:id/messages", Endpoint::SendMessage),
    ("GET", "/api/chats/conversations/:id/events", Endpoint::Events),
    ("GET", "/api/chats/search", Endpoint::Search),
    ("GET", "/api/health", Endpoint::Health),
    ("GET", "/health", Endpoint::Health),
    ("GET", "/api/info", Endpoint::Info),
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

/// Finds the handler. `HEAD` is `GET` without the body.
pub(super) fn find(method: &str, path: &str) -> Found {
    let wanted = if method == "HEAD" { "GET" } else { method };
    let mut allowed = Vec::new();
    for (known, pattern, endpoint) in ROUTES {
        if let Some(params) = matches(pattern, path) {
            if *known == wanted {
                return Found::Endpoint(*endpoint, params);
            }
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
    matches!(find(method, path), Found::Endpoint(Endpoint::Register | Endpoint::Login, _))
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
    use super::*;

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
    fn only_register_and_login_hash() {
        assert!(hashes_password("POST", "/api/auth/register") && hashes_password("POST", "/api/auth/login"));
        assert!(!hashes_password("GET", "/api/auth/login") && !hashes_password("POST", "/api/auth/refresh"));
    }
}
