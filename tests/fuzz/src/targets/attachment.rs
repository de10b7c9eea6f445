//! What comes back of a socket after a restart.

use edge_core::gateway::attachment::Attachment;
use edge_core::limits;
use edge_core::object::SocketId;

use super::net::Net;

/// An attachment: written again as the same, and the gateway that gets it back forgets it when the socket goes.
pub(super) fn socket_attachment(input: &[u8]) -> bool {
    let attachment = Attachment::decode(input);
    if let Some(attachment) = &attachment
        && let Some(bytes) = attachment.encode()
    {
        assert!(bytes.len() <= limits::ATTACHMENT_BYTES);
        assert_eq!(Attachment::decode(&bytes).as_ref(), Some(attachment));
    }
    let socket = SocketId(1);
    let mut net = Net::new(vec![(socket, input.to_vec())]);
    net.text(socket, r#"42["hb"]"#);
    net.deliver(1, 1..=3);
    net.settle();
    net.end();
    attachment.is_some()
}
