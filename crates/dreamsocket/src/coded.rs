//! A codec on a topic: typed messages become frames once for all connections that they are forwarded to (S3).
//!
//! What was made of a message is kept in the place that the broadcaster has for it beside each message, so it goes with the
//! message, and nothing is to be looked up or cleared.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use dreamsocket_broadcaster::{
    Channel, ChannelOptions, Delivery, End, Missed, Position, Shared, Topic,
};

use crate::error::BoxError;
use crate::prepared::Prepared;
use crate::session::log_panic;

/// Turns a message into what goes over the wire. The position is there if the topic keeps history: whoever comes back with
/// it goes on from there.
pub type Encode<M> = fn(&M, Option<Position>) -> Result<Prepared, BoxError>;

/// A topic with a codec: its messages stay typed for all who receive them, and connections that they are
/// [forwarded](crate::Connection::forward) to share one frame of each, made once in this process (and compressed once for
/// all that compress alike).
///
/// Cheap to clone. The codec is a plain function: it captures nothing, and should make the same of the same message
/// always. Codecs that differ may be set on one topic; the frames of the first that was used are shared, the others make
/// one for each connection.
///
/// ```
/// use dreamsocket::{Broadcaster, CodedTopic, Connection, Forward, OnMissed, Prepared, Selector};
///
/// #[derive(Clone, serde::Serialize)]
/// struct Price { name: String, cents: u64 }
///
/// struct Dependencies { prices: CodedTopic<Price> }
///
/// async fn on_init(connection: &Connection, dependencies: &Dependencies) -> (Forward, Option<Selector>) {
///     let missed = |_| OnMissed::Notice(Prepared::text("some prices are missing here"));
///     (connection.forward(dependencies.prices.subscribe(), missed), None)
/// }
///
/// let topic = Broadcaster::new().topic("prices");
/// let prices = CodedTopic::new(topic, |price, _| Ok(Prepared::json(price)?));
/// # let _ = (on_init, Dependencies { prices });
/// ```
pub struct CodedTopic<M> {
    topic: Topic<M>,
    encode: Encode<M>,
}

/// A channel of a topic with a codec, to be [forwarded](crate::Connection::forward).
///
/// Dropping it unsubscribes.
#[must_use = "dropping a channel unsubscribes it"]
pub struct CodedChannel<M> {
    channel: Channel<M>,
    encode: Encode<M>,
}

impl<M> CodedTopic<M> {
    /// Sets the codec on a topic.
    ///
    /// A message that it cannot encode, by an error or a panic, is a gap of one for whom it is forwarded to, and is logged
    /// once.
    pub fn new(topic: Topic<M>, encode: Encode<M>) -> Self {
        Self { topic, encode }
    }

    /// The topic itself: to publish, and to receive typed messages.
    #[must_use]
    pub fn topic(&self) -> &Topic<M> {
        &self.topic
    }
}

impl<M: Clone + Send + Sync + 'static> CodedTopic<M> {
    /// As [`Topic::subscribe`].
    pub fn subscribe(&self) -> CodedChannel<M> {
        self.subscribe_with(ChannelOptions::new())
    }

    /// As [`Topic::subscribe_with`].
    pub fn subscribe_with(&self, options: ChannelOptions<M>) -> CodedChannel<M> {
        CodedChannel {
            channel: self.topic.subscribe_with(options),
            encode: self.encode,
        }
    }
}

impl<M> Clone for CodedTopic<M> {
    fn clone(&self) -> Self {
        Self {
            topic: self.topic.clone(),
            encode: self.encode,
        }
    }
}

impl<M> fmt::Debug for CodedTopic<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CodedTopic").field(&self.topic).finish()
    }
}

impl<M> CodedChannel<M> {
    /// The channel without its codec.
    pub fn into_channel(self) -> Channel<M> {
        self.channel
    }

    /// Whom [`Topic::publish_except`] leaves out.
    #[must_use]
    pub fn id(&self) -> dreamsocket_broadcaster::SubscriberId {
        self.channel.id()
    }
}

impl<M> fmt::Debug for CodedChannel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CodedChannel").field(&self.channel).finish()
    }
}

/// What [`Connection::forward`](crate::Connection::forward) takes: a channel of prepared messages, or one with a codec.
pub struct Frames(pub(crate) Source);

pub(crate) enum Source {
    Prepared(Channel<Prepared>),
    Coded(Box<dyn Coded>),
}

impl From<Channel<Prepared>> for Frames {
    fn from(channel: Channel<Prepared>) -> Self {
        Self(Source::Prepared(channel))
    }
}

impl<M: Send + Sync + 'static> From<CodedChannel<M>> for Frames {
    fn from(channel: CodedChannel<M>) -> Self {
        Self(Source::Coded(Box::new(channel)))
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").finish_non_exhaustive()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl Source {
    pub(crate) fn poll_recv(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Delivery<Prepared>>> {
        match self {
            Self::Prepared(channel) => channel.poll_recv(context),
            Self::Coded(channel) => channel.poll_recv(context),
        }
    }

    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<End> {
        match self {
            Self::Prepared(channel) => channel.poll_end(context),
            Self::Coded(channel) => channel.poll_end(context),
        }
    }

    pub(crate) fn end(&self) -> Option<End> {
        match self {
            Self::Prepared(channel) => channel.end(),
            Self::Coded(channel) => channel.end(),
        }
    }

    /// How many messages wait.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::Prepared(channel) => channel.counts().waiting,
            Self::Coded(channel) => channel.waiting(),
        }
    }
}

/// A channel whose messages' type is of no concern any more.
pub(crate) trait Coded: Send {
    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Delivery<Prepared>>>;

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<End>;

    fn end(&self) -> Option<End>;

    fn waiting(&self) -> usize;
}

impl<M: Send + Sync + 'static> Coded for CodedChannel<M> {
    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Delivery<Prepared>>> {
        self.channel.poll_recv_shared(context).map(|delivery| {
            Some(match delivery? {
                Delivery::Missed(missed) => Delivery::Missed(missed),
                Delivery::Message(message) => match encoded(&message, self.encode) {
                    Some(prepared) => Delivery::Message(prepared),
                    None => {
                        Delivery::Missed(Missed::new(self.channel.topic_name().to_owned(), Some(1)))
                    }
                },
            })
        })
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.channel.poll_end(context)
    }

    fn end(&self) -> Option<End> {
        self.channel.end()
    }

    fn waiting(&self) -> usize {
        self.channel.counts().waiting
    }
}

/// What a codec made of a message, kept beside the message.
#[derive(Clone)]
struct Kept {
    /// The codec's address. Two that the compiler has made one make the same of a message; one that is there twice makes it
    /// again.
    by: usize,
    /// Nothing, if it could not. Whoever comes while it is made waits for it, so that it is made once.
    prepared: Arc<OnceLock<Option<Prepared>>>,
}

fn encoded<M: Send + Sync + 'static>(message: &Shared<M>, encode: Encode<M>) -> Option<Prepared> {
    let by = encode as usize;
    let kept = message.extension(|_| Kept {
        by,
        prepared: Arc::default(),
    });
    let make = || {
        let encoding = AssertUnwindSafe(|| encode(message, message.position()));
        match catch_unwind(encoding) {
            Ok(Ok(prepared)) => Some(prepared),
            Ok(Err(error)) => {
                tracing::error!(%error, "a codec cannot encode a message: it is a gap");
                None
            }
            Err(payload) => {
                log_panic("codec", payload);
                None
            }
        }
    };
    if kept.by == by {
        kept.prepared.get_or_init(make).clone()
    } else {
        make()
    }
}
