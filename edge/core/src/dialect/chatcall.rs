//! `chatcall`, the canonical dialect (contract 5.1).

mod inbound;
mod outbound;

pub use inbound::{cursors, read_up_to};

use super::{Command, Dialect, Inbound};

/// The table.
pub static DIALECT: Dialect =
    Dialect { name: "chatcall", inbound: INBOUND, encode: outbound::encode, answer: outbound::answer };

static INBOUND: &[Inbound] = &[
    Inbound { event: "auth:renew", parse: inbound::renew },
    Inbound { event: "chat:delete", parse: inbound::delete },
    Inbound { event: "chat:delivered", parse: inbound::mark_delivered },
    Inbound { event: "chat:edit", parse: inbound::edit },
    Inbound { event: "chat:join", parse: inbound::join },
    Inbound { event: "chat:leave", parse: inbound::leave },
    Inbound { event: "chat:markRead", parse: inbound::mark_read },
    Inbound { event: "chat:message", parse: inbound::send },
    Inbound { event: "chat:react", parse: inbound::react },
    Inbound { event: "chat:stopTyping", parse: inbound::stop_typing },
    Inbound { event: "chat:typing", parse: inbound::typing },
    Inbound { event: "hb", parse: |_, _| Ok(Command::Heartbeat) },
    Inbound { event: "presence:getOnline", parse: |_, _| Ok(Command::GetOnline) },
    Inbound { event: "presence:set", parse: inbound::set_presence },
    Inbound { event: "sync:resume", parse: inbound::resume },
];

#[cfg(test)]
mod tests;
