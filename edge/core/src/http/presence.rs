//! What handlers may say about who is online.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use wire::UserId;

use super::Call;
use crate::object::Kind;
use crate::objects::Message;
use crate::platform::Platform;

/// Users asked at once.
const AT_ONCE: usize = 50;

impl<P: Platform> Call<'_, P> {
    /// Those of `users` who are online, as far as `by` may know. Whoever does not answer is offline.
    pub(super) async fn online(&self, by: UserId, users: &[UserId]) -> BTreeSet<UserId> {
        let mut online = BTreeSet::new();
        for some in users.chunks(AT_ONCE) {
            let names: Vec<String> = some.iter().map(ToString::to_string).collect();
            let asked = names.iter().map(|name| self.platform.object(Kind::User, name, Message::AskPresence { by }));
            for (user, answer) in some.iter().zip(together(asked).await) {
                if matches!(answer, Ok(Message::Presence { online: true, .. })) {
                    online.insert(*user);
                }
            }
        }
        online
    }
}

/// Waits for all of them at once; the outputs in the order of the futures.
async fn together<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut waits = false;
        for (future, output) in running.iter_mut().zip(&mut done) {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *output = Some(value),
                    Poll::Pending => waits = true,
                }
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    done.into_iter().flatten().collect()
}
