//! Where mail goes: `SMTP_URL`, `SMTP_FROM`, and `PUBLIC_URL`, which links in mail begin with. Never what a request says:
//! its Host header is the sender's to choose.

use edge_core::settings::{Settings, Variables as _};
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, Tokio1Executor};

use super::{Environment, Wrong, wrong};

/// How to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    /// `smtp://` or `smtps://`, with name and password.
    pub url: String,
    pub from: Mailbox,
    /// None in development: this host's own port.
    pub base: Option<String>,
}

impl MailConfig {
    /// None without `SMTP_URL`.
    ///
    /// # Errors
    /// One sentence on what is missing or cannot be used.
    pub fn read(env: &Environment, settings: &Settings) -> Result<Option<Self>, Wrong> {
        let base = match env.get("PUBLIC_URL") {
            Some(url) if is_web(url) && !url.contains(|symbol: char| symbol.is_whitespace() || "?#<>\"".contains(symbol)) => {
                Some(url.trim_end_matches('/').to_owned())
            }
            Some(url) => return wrong(format!("PUBLIC_URL is `{url}`: it takes http(s)://host[:port][/path]")),
            None => settings.allowed_origins.iter().find(|origin| is_web(origin)).cloned(),
        };
        let Some(url) = env.raw("SMTP_URL").map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()) else { return Ok(None) };
        if base.is_none() && !settings.development {
            return wrong("SMTP_URL needs PUBLIC_URL (or ALLOWED_ORIGINS): links in mail begin with it");
        }
        let host = base.as_deref().and_then(|base| base.split_once("://")).map_or("localhost", |(_, rest)| rest);
        let host = host.split(['/', ':']).next().unwrap_or(host);
        let from = env.get("SMTP_FROM").map_or_else(|| format!("ChatCall <no-reply@{host}>"), str::to_owned);
        let from = from.parse().map_err(|_| Wrong(format!("SMTP_FROM is `{from}`: it takes an address, or Name <address>")))?;
        // The library's own words might repeat the URL, which holds a password.
        if AsyncSmtpTransport::<Tokio1Executor>::from_url(&url).is_err() {
            return wrong("SMTP_URL is refused: it takes smtp://[user:password@]host[:port][?tls=required], or smtps:// for TLS from the start");
        }
        Ok(Some(Self { url, from, base }))
    }

    /// What an operator should know.
    pub(super) fn warning(&self) -> Option<String> {
        let rest = self.url.strip_prefix("smtp://").filter(|rest| !rest.contains("tls=required"))?;
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let near = ["localhost", "127.0.0.1", "[::1]"].into_iter().any(|name| host.starts_with(name));
        (!near).then(|| "SMTP_URL may send in clear: use smtps:// or ?tls=required".to_owned())
    }
}

fn is_web(url: &str) -> bool {
    ["http://", "https://"].into_iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<MailConfig>, String> {
        let env = Environment::of(pairs);
        let settings = Settings::read(&env)?;
        MailConfig::read(&env, &settings).map_err(|wrong| wrong.0)
    }

    #[test]
    fn links_begin_with_what_the_operator_says() {
        let smtp = ("SMTP_URL", "smtps://u:p@mail.example.com");
        let base = |pairs: &[(&str, &str)]| read(pairs).unwrap().unwrap();
        let named = base(&[smtp, ("PUBLIC_URL", "https://chat.example.com/"), ("ALLOWED_ORIGINS", "https://x.example.com")]);
        assert_eq!((named.base.as_deref(), named.from.to_string()), (Some("https://chat.example.com"), "ChatCall <no-reply@chat.example.com>".to_owned()));
        let origin = base(&[smtp, ("ALLOWED_ORIGINS", "app://chat, https://x.example.com:8443")]);
        assert_eq!((origin.base.as_deref(), origin.from.to_string()), (Some("https://x.example.com:8443"), "ChatCall <no-reply@x.example.com>".to_owned()));
        assert_eq!(base(&[smtp, ("CHATCALL_ENV", "development")]).base, None);
        assert!(read(&[smtp]).unwrap_err().contains("PUBLIC_URL"));
        for bad in ["chat.example.com", "ftp://x", "https://", "https://x y", "https://x/#y"] {
            assert!(read(&[("PUBLIC_URL", bad)]).unwrap_err().contains("PUBLIC_URL"), "{bad}");
        }
        assert_eq!(read(&[("PUBLIC_URL", "https://x.example.com")]), Ok(None));
    }

    #[test]
    fn mail_in_clear_over_the_network_is_warned_about() {
        let warned = |url: &str| MailConfig { url: url.into(), from: "a@example.com".parse().unwrap(), base: None }.warning().is_some();
        assert!(warned("smtp://u:p@mail.example.com") && warned("smtp://mail.example.com:25?tls=opportunistic"));
        for fine in ["smtps://mail.example.com", "smtp://mail.example.com?tls=required", "smtp://localhost:2525", "smtp://u:p@127.0.0.1"] {
            assert!(!warned(fine), "{fine}");
        }
    }
}
