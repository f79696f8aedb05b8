//! The opening handshake between our own two halves: what a client asks a server takes, and what it answers the client takes.

use dreamsocket_protocol::handshake::{
    DeflateParams, DeflateWish, check_request, check_response, client_request,
};
use http::{Request, Response, Uri};

/// The key of every request, so that a seed can hold the right answer to it.
pub(crate) const KEY: [u8; 16] = *b"the sample nonce";

pub(crate) struct Opening {
    pub(crate) request: Request<()>,
    /// What was agreed on of compression, as the client reads it and as the server does.
    pub(crate) deflate: Option<[DeflateParams; 2]>,
}

/// Opens a WebSocket, of which the server takes the last subprotocol. `None` if there is no request for such a URI.
pub(crate) fn open(
    uri: &Uri,
    subprotocols: &[&str],
    client: Option<DeflateWish>,
    server: Option<DeflateWish>,
) -> Option<Opening> {
    let request = client_request(uri, KEY, subprotocols, client).ok()?;
    let accepted = check_request(&request).expect("our own request is valid");
    assert_eq!(accepted.subprotocols, subprotocols);
    let agreed = server.and_then(|wish| accepted.deflate.accept(wish));
    assert_eq!(agreed.is_some(), client.is_some() && server.is_some());
    let mut response = Response::builder()
        .status(101)
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-accept", &accepted.accept_key);
    if let Some((_, extension)) = &agreed {
        response = response.header("sec-websocket-extensions", extension);
    }
    if let Some(chosen) = accepted.subprotocols.last() {
        response = response.header("sec-websocket-protocol", chosen);
    }
    let response = response.body(()).expect("made of what was accepted");
    let checked = check_response(&response, KEY, subprotocols, client).expect("our own answer");
    assert_eq!(checked.subprotocol.as_ref(), accepted.subprotocols.last());
    assert_eq!(checked.deflate.is_some(), agreed.is_some());
    Some(Opening {
        request,
        deflate: checked
            .deflate
            .zip(agreed)
            .map(|(client, (server, _))| [client, server]),
    })
}
