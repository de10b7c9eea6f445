//! Mail that waits in the people database, sent by SMTP (G-16). A handler writes a row with what causes it; here it is
//! claimed, sent, and deleted. A crash between the last two sends it once more, with the same Message-ID.

use std::sync::Arc;
use std::time::Duration;

use edge_core::http::reset_token;
use edge_core::sql::{Row, people};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use tokio::sync::watch;
use wire::Timestamp;

use crate::clock::Clock;
use crate::config::MailConfig;
use crate::storage::Storage;

/// How often the table is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// A try takes at most this long.
const SEND: Duration = Duration::from_secs(20);
/// Until the next try after the first one; twice as long after each.
const AGAIN_MS: u64 = 30_000;

/// Sends what waits.
#[derive(Debug)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    /// What links begin with.
    base: String,
    refresh_secret: String,
    storage: Storage,
    clock: Arc<Clock>,
}

/// What became of one mail.
enum Outcome {
    Sent,
    /// The server will never take it.
    Refused(String),
    Later(String),
}

impl Mailer {
    /// `port`: where this host listens, for links in development.
    ///
    /// # Errors
    /// A URL that [`MailConfig::read`] does not let through.
    pub fn new(config: &MailConfig, port: u16, refresh_secret: &str, storage: Storage, clock: Arc<Clock>) -> anyhow::Result<Self> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(&config.url)?.timeout(Some(SEND)).build();
        let base = config.base.clone().unwrap_or_else(|| format!("http://localhost:{port}"));
        Ok(Self { transport, from: config.from.clone(), base, refresh_secret: refresh_secret.to_owned(), storage, clock })
    }

    /// Until the host stops. What is being sent then is waited for by the caller.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        while !*stopping.borrow() {
            for row in self.due().await {
                if *stopping.borrow() {
                    return;
                }
                self.one(&row).await;
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stopping.changed() => {}
            }
        }
    }

    async fn due(&self) -> Vec<Row> {
        match self.storage.query(people::due_mail(self.now())).await {
            Ok(found) => found.rows,
            Err(error) => {
                tracing::warn!(%error, "mail cannot be read");
                Vec::new()
            }
        }
    }

    async fn one(&self, row: &Row) {
        let Some((id, email, tries)) = read(row) else { return };
        let now = self.now();
        let until = now.plus_ms(AGAIN_MS << tries.min(6));
        match self.storage.people_batch(vec![people::claim_mail(id, now, until)]).await {
            Ok(rows) if rows.first().is_some_and(|rows| !rows.is_empty()) => {}
            // Somebody else has it, or nothing can be written: then it could not be deleted either.
            _ => return,
        }
        match self.send(id, email).await {
            Outcome::Later(why) => return tracing::warn!(why, tries = tries + 1, "a mail was not taken, another try follows"),
            Outcome::Refused(why) => tracing::warn!(why, "a mail was refused"),
            Outcome::Sent => tracing::debug!("a mail was sent"),
        }
        if let Err(error) = self.storage.people_batch(vec![people::delete_mail(id)]).await {
            tracing::error!(?error, "a mail that was sent stays in the table and may be sent again");
        }
    }

    async fn send(&self, id: &str, email: &str) -> Outcome {
        let message = match self.message(id, email) {
            Ok(message) => message,
            Err(error) => return Outcome::Refused(error),
        };
        match tokio::time::timeout(SEND, self.transport.send(message)).await {
            Ok(Ok(_)) => Outcome::Sent,
            Ok(Err(error)) if error.is_permanent() => Outcome::Refused(error.to_string()),
            Ok(Err(error)) => Outcome::Later(error.to_string()),
            Err(_) => Outcome::Later("the mail server did not answer in time".into()),
        }
    }

    fn message(&self, id: &str, email: &str) -> Result<Message, String> {
        let to: Mailbox = email.parse().map_err(|_| "an address that mail cannot reach".to_owned())?;
        let (base, token) = (&self.base, reset_token(&self.refresh_secret, id));
        let text = format!(
            "Somebody, probably you, asked for a new password for your account at {base}.\n\
             This link sets it, once and within 30 minutes:\n\n{base}/reset#token={token}\n\n\
             If it was not you, there is nothing to do: your password stays as it is.\n"
        );
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject("Your new ChatCall password")
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| error.to_string())?;
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        message.headers_mut().insert_raw(automatic);
        Ok(message)
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.now_ms())
    }
}

/// Columns of [`people::due_mail`]; kinds of a newer version wait for it.
fn read(row: &Row) -> Option<(&str, &str, u64)> {
    let [id, kind, email, tries] = row.as_slice() else { return None };
    (kind.as_str()? == "reset").then_some((id.as_str()?, email.as_str()?, tries.as_u64()?))
}
