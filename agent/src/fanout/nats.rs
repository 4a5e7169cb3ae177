//! The connection to NATS, and its bucket.

use super::key;
use crate::{config::Fanout, jitter};
use anyhow::{Context, Result, anyhow, bail};
use async_nats::{
    Auth, AuthError, Client, ConnectOptions, HeaderMap, ServerAddr, header,
    jetstream::{
        self,
        consumer::{
            DeliverPolicy,
            push::{Ordered, OrderedConfig},
        },
        context::{GetStreamErrorKind, PublishErrorKind},
        stream::{self, LastRawMessageErrorKind, Stream},
    },
};
use nkeys::KeyPair;
use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The longest pause between two attempts to connect; each is a random part of it.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A connection on which nothing comes is probed so often.
const PING_EVERY: Duration = Duration::from_secs(10);

/// What NATS does not answer within this has not been done, as far as we know.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The same of a consumer: when the agents of thousands of nodes begin together the last of them waits for
/// long, and would wait longer if each asked again and again.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(30);

/// Connects in the background, and again whenever the connection breaks. An error: what is configured
/// cannot be meant.
pub(super) async fn connect(settings: &Fanout, name: &str) -> Result<Client> {
    let mut addresses = Vec::new();
    for server in &settings.servers {
        let address: ServerAddr = server
            .parse()
            .with_context(|| format!("{server:?} is no address of a NATS server"))?;
        addresses.push(address);
    }
    let mut options = match &settings.credentials {
        Some(path) => {
            // What is wrong with it now is said now.
            credentials(path, &[])?;
            let path = path.clone();
            ConnectOptions::with_auth_callback(move |nonce| {
                let path = path.clone();
                async move { credentials(&path, &nonce).map_err(AuthError::new) }
            })
        }
        None => ConnectOptions::new(),
    };
    if let Some(path) = &settings.ca {
        let context = || format!("cannot read the certificates {}", path.display());
        std::fs::read(path).with_context(context)?;
        options = options
            .add_root_certificates(PathBuf::from(path))
            .require_tls(true);
    }
    options = options
        .name(name)
        .retry_on_initial_connect()
        .ping_interval(PING_EVERY)
        .reconnect_delay_callback(|attempts| {
            let doubled = 2_u32.saturating_pow(u32::try_from(attempts).unwrap_or(u32::MAX));
            let longest = Duration::from_millis(50).saturating_mul(doubled);
            jitter::part_of(longest.min(LONGEST_PAUSE))
        })
        .event_callback(|event| async move { tracing::info!("NATS: {event}") });
    options
        .connect(addresses)
        .await
        .context("cannot set up the connection to NATS")
}

/// What a server is told of who we are. The file is read for each connection, because it may have been
/// replaced.
fn credentials(path: &Path, nonce: &[u8]) -> Result<Auth> {
    let context = || format!("cannot use the credentials {}", path.display());
    let text = std::fs::read_to_string(path).with_context(context)?;
    authenticate(&text, nonce).with_context(context)
}

/// A `.creds` file (a token and a seed between lines of dashes), a seed, or a user and a password.
fn authenticate(text: &str, nonce: &[u8]) -> Result<Auth> {
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let mut auth = Auth::new();
    if lines.iter().any(|line| line.starts_with("-----")) {
        let mut blocks = lines
            .windows(3)
            .filter(|of| of[0].starts_with("-----BEGIN") && of[2].starts_with("---"))
            .map(|of| of[1]);
        let (Some(token), Some(seed)) = (blocks.next(), blocks.next()) else {
            bail!("it has no token and seed");
        };
        auth.jwt = Some(token.to_owned());
        auth.signature = Some(key_pair(seed)?.sign(nonce)?);
        return Ok(auth);
    }
    match lines.as_slice() {
        [seed] => {
            let pair = key_pair(seed)?;
            auth.nkey = Some(pair.public_key());
            auth.signature = Some(pair.sign(nonce)?);
        }
        [user, password] => {
            auth.username = Some((*user).to_owned());
            auth.password = Some((*password).to_owned());
        }
        _ => bail!("it is no .creds file, no seed, and no user and password"),
    }
    Ok(auth)
}

fn key_pair(seed: &str) -> Result<KeyPair> {
    // The cause might show what it read.
    KeyPair::from_seed(seed).map_err(|_| anyhow!("its seed cannot be read"))
}

/// The bucket.
#[derive(Clone)]
pub(super) struct Bucket {
    context: jetstream::Context,
    pub(super) stream: Stream,
    pub(super) name: String,
}

/// A value as it was found.
pub(super) struct Found {
    pub(super) revision: u64,
    pub(super) value: Vec<u8>,
    /// Since it was written, by this machine's clock and the server's.
    pub(super) age: Duration,
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Written {
    /// It is in the bucket, under this revision.
    Yes(u64),
    /// Something else is there than was expected.
    Conflict,
    /// It may be or not, and why it is not known.
    Unknown(String),
}

impl Bucket {
    /// The bucket, if it is there.
    pub(super) async fn open(client: &Client, name: &str) -> Result<Option<Self>> {
        let mut context = jetstream::new(client.clone());
        context.set_timeout(ANSWER_WITHIN);
        match context.get_stream(format!("KV_{name}")).await {
            Ok(stream) => Ok(Some(Self {
                context,
                stream,
                name: name.to_owned(),
            })),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(inner) if inner.code() == 404 => Ok(None),
                _ => Err(error).with_context(|| format!("cannot look at the bucket {name}")),
            },
        }
    }

    /// The bucket, made if it is not there.
    pub(super) async fn make(client: &Client, name: &str, replicas: usize) -> Result<Self> {
        if let Some(bucket) = Self::open(client, name).await? {
            return Ok(bucket);
        }
        // What a key-value bucket is to NATS's own tools, too. `create_key_value` asks first what the account
        // may, in a form that servers before 2.10 do not answer.
        let config = stream::Config {
            name: format!("KV_{name}"),
            subjects: vec![key::subject(name, ">")],
            description: Some("nss-k8s: what the zones of all nodes are made of".to_owned()),
            max_messages_per_subject: 1,
            discard: stream::DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            num_replicas: replicas,
            ..stream::Config::default()
        };
        let context = jetstream::new(client.clone());
        let made = context.create_stream(config).await;
        // Another replica may have been quicker.
        let opened = Self::open(client, name).await?;
        match (opened, made) {
            (Some(bucket), _) => Ok(bucket),
            (None, Err(error)) => {
                Err(error).with_context(|| format!("cannot make the bucket {name}"))
            }
            (None, Ok(_)) => bail!("the bucket {name} went away again"),
        }
    }

    /// Which bucket it is, for who remembers sequence numbers.
    pub(super) fn identity(&self) -> String {
        let created = self.stream.cached_info().created;
        format!("{} {created}", self.name)
    }

    /// The last sequence number as of when the bucket was opened.
    pub(super) fn last(&self) -> u64 {
        self.stream.cached_info().state.last_sequence
    }

    /// A key's value; `None`: it has none.
    pub(super) async fn read(&self, key: &str) -> Result<Option<Found>> {
        let subject = key::subject(&self.name, key);
        match self.stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => Ok(Some(Found {
                revision: message.sequence,
                value: message.payload.into(),
                age: SystemTime::now()
                    .duration_since(message.time.into())
                    .unwrap_or_default(),
            })),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {key}")),
        }
    }

    /// Writes a key if its last revision is what we think; 0: there is none.
    pub(super) async fn write(&self, key: &str, value: Vec<u8>, revision: u64) -> Written {
        let subject = key::subject(&self.name, key);
        let mut headers = HeaderMap::new();
        headers.insert(
            header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
            revision.to_string(),
        );
        let sent = self
            .context
            .publish_with_headers(subject, headers, value.into());
        let result = match sent.await {
            Ok(acknowledged) => acknowledged.await,
            Err(error) => Err(error),
        };
        match result {
            Ok(ack) => Written::Yes(ack.sequence),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Written::Conflict,
            Err(error) => Written::Unknown(error.to_string()),
        }
    }

    /// Takes a key out, up to a revision of it.
    pub(super) async fn purge(&self, key: &str, revision: u64) -> Result<()> {
        let subject = key::subject(&self.name, key);
        let purge = self.stream.purge().filter(subject);
        let upto = revision.saturating_add(1);
        purge.sequence(upto).await.context("cannot purge")?;
        Ok(())
    }

    /// Everything that is in the bucket below a pattern, or what came after a sequence number; then what
    /// comes. Also how many messages wait.
    pub(super) async fn follow(
        &self,
        filter: String,
        after: Option<u64>,
    ) -> Result<(Ordered, u64)> {
        let config = OrderedConfig {
            deliver_subject: self.context.client().new_inbox(),
            filter_subject: filter,
            deliver_policy: match after {
                None => DeliverPolicy::LastPerSubject,
                Some(sequence) => DeliverPolicy::ByStartSequence {
                    start_sequence: sequence.saturating_add(1),
                },
            },
            ..OrderedConfig::default()
        };
        let mut context = self.context.clone();
        context.set_timeout(FOLLOWED_WITHIN);
        let stream = format!("KV_{}", self.name);
        let consumer = context.create_consumer_on_stream(config, stream).await;
        let consumer = consumer.context("cannot follow the bucket")?;
        let waiting = consumer.cached_info().num_pending;
        let messages = consumer.messages().await;
        Ok((messages.context("cannot follow the bucket")?, waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_three_kinds_are_read() {
        let pair = KeyPair::new_user();
        let seed = pair.seed().unwrap();
        let file = format!(
            "-----BEGIN NATS USER JWT-----\nabc.def.ghi\n------END NATS USER JWT------\n\n\
             *** IMPORTANT ***\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let auth = authenticate(&file, b"nonce").unwrap();
        assert_eq!(auth.jwt.as_deref(), Some("abc.def.ghi"));
        pair.verify(b"nonce", &auth.signature.unwrap()).unwrap();
        let auth = authenticate(&format!("{seed}\n"), b"nonce").unwrap();
        assert_eq!(auth.nkey, Some(pair.public_key()));
        pair.verify(b"nonce", &auth.signature.unwrap()).unwrap();
        let auth = authenticate("me\nsecret\n", b"").unwrap();
        assert_eq!(auth.username.as_deref(), Some("me"));
        assert_eq!(auth.password.as_deref(), Some("secret"));
    }

    #[test]
    fn what_are_no_credentials_is_refused_without_showing_it() {
        for text in [
            "",
            "secret",
            "a\nb\nc\n",
            "-----BEGIN-----\nsecret\n-----END-----\n",
        ] {
            let error = format!("{:#}", authenticate(text, b"").err().unwrap());
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
