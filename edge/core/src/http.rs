//! REST handlers: requests in, responses out, over one [`Platform`].

use crate::platform::Platform;

pub use crate::object::Response;

/// A request as a host hands it over: the body is complete (at most one byte more than
/// [`crate::limits::HTTP_BODY_BYTES`], which the handler refuses).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Upper case.
    pub method: String,
    /// Path as sent, percent-encoded, without query.
    pub path: String,
    /// Raw query string without `?`.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Client address after the configured number of trusted proxies.
    pub address: String,
}

/// Answers one request.
pub async fn handle(platform: &impl Platform, request: Request) -> Response {
    let _ = platform.now();
    let _ = request;
    Response { status: 404, headers: Vec::new(), body: Vec::new() }
}
