//! A simulated agent behind NATS: a connection of its own and the ordered consumer that an agent makes, in NATS's own
//! protocol. It answers flow control and pings, checks that nothing is missing, and resumes by sequence; records are not decoded.

use crate::{Shared, audience::KINDS, plane::NATS_PORT, say, watcher::part_of};
use anyhow::{Context, Result, bail};
use nss_k8s_tests::choices::Choices;
use serde_json::json;
use std::{
    io::ErrorKind,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

/// The stream of the bucket.
const STREAM: &str = "KV_nss-k8s";
/// Subjects of its records begin so.
const SUBJECTS: &str = "$KV.nss-k8s.";
/// What a consumer sends at least so often: then silence means that it is gone.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The first pause before another attempt to connect, and the longest; each is a random part of twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Adds an agent.
pub(crate) fn spawn(tasks: &mut JoinSet<()>, audience: &Shared, jitter: Duration, number: usize) {
    let agent = Agent {
        audience: Shared::clone(audience),
        number,
        sequence: 0,
        replayed: false,
        newest: [0; KINDS],
    };
    tasks.spawn(agent.run(jitter));
}

/// One agent.
struct Agent {
    audience: Shared,
    number: usize,
    /// Of the last record that came.
    sequence: u64,
    /// Everything that the stream had has come.
    replayed: bool,
    /// The newest marker that was seen, by kind.
    newest: [usize; KINDS],
}

impl Agent {
    async fn run(mut self, jitter: Duration) {
        let Ok(mut choices) = Choices::seeded(1 + self.number as u64) else {
            return;
        };
        sleep(part_of(&mut choices, jitter)).await;
        let mut longest = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            // What went wrong is counted, and one agent speaks for all; a new connection is the answer to everything.
            if let Err(error) = self.follow().await
                && self.number == 0
            {
                say(&format!("an agent: {error:#}"));
            }
            self.audience.failures.fetch_add(1, Relaxed);
            if began.elapsed() > LONGEST_PAUSE {
                longest = FIRST_PAUSE;
            }
            sleep(part_of(&mut choices, longest)).await;
            longest = (longest * 2).min(LONGEST_PAUSE);
        }
    }

    /// Connects, makes a consumer, and reads until something is wrong.
    async fn follow(&mut self) -> Result<()> {
        let stream = TcpStream::connect(("127.0.0.1", NATS_PORT)).await?;
        stream.set_nodelay(true)?;
        let mut wire = Wire {
            stream,
            buffer: Vec::new(),
            read: 0,
        };
        let inbox = format!("_INBOX.{}", self.number);
        let policy = match self.sequence {
            0 => json!({"deliver_policy": "last_per_subject"}),
            last => json!({"deliver_policy": "by_start_sequence", "opt_start_seq": last + 1}),
        };
        let mut config = json!({
            "deliver_subject": format!("{inbox}.records"),
            "ack_policy": "none",
            "max_deliver": 1,
            "filter_subject": format!("{SUBJECTS}>"),
            "replay_policy": "instant",
            "flow_control": true,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
            "inactive_threshold": 30_000_000_000_u64,
            "num_replicas": 1,
            "mem_storage": true,
        });
        for (key, value) in policy.as_object().context("an object")? {
            config[key] = value.clone();
        }
        let request = json!({"stream_name": STREAM, "config": config}).to_string();
        let create = format!("$JS.API.CONSUMER.CREATE.{STREAM}");
        let state = json!({"last_by_subj": format!("{SUBJECTS}base.state")}).to_string();
        let hello = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "lang": "rust", "version": "0.49.1", "protocol": 1, "echo": true, "tls_required": false,
        });
        wire.write(&format!(
            "CONNECT {hello}\r\nSUB {inbox}.records 1\r\nSUB {inbox}.info 2\r\nSUB {inbox}.created 3\r\n\
             PUB $JS.API.STREAM.INFO.{STREAM} {inbox}.info 0\r\n\r\n\
             PUB $JS.API.STREAM.MSG.GET.{STREAM} {inbox}.info {}\r\n{state}\r\n\
             PUB {create} {inbox}.created {}\r\n{request}\r\n",
            state.len(),
            request.len()
        ))
        .await?;
        let mut delivered = 0;
        loop {
            let Some(message) = timeout(HEARTBEAT * 3, wire.next()).await?? else {
                continue;
            };
            if message.of_consumer {
                if let Some(reply) = message.flow_control() {
                    wire.write(&format!("PUB {reply} 0\r\n\r\n")).await?;
                    continue;
                }
                if message.status {
                    continue;
                }
                let Some(at) = message.position() else {
                    bail!("a record without a position");
                };
                delivered += 1;
                if at.consumer != delivered {
                    self.audience.gaps.fetch_add(1, Relaxed);
                    bail!("a gap");
                }
                self.sequence = at.stream;
                self.record(&message);
                if at.pending == 0 && !self.replayed {
                    self.replayed = true;
                    self.audience.lists.fetch_add(1, Relaxed);
                }
            } else if message.payload.windows(8).any(|part| part == b"\"error\":") {
                bail!("refused: {}", String::from_utf8_lossy(&message.payload));
            }
        }
    }

    /// Looks at the name in a record's key.
    fn record(&mut self, message: &Message) {
        self.audience.received.fetch_add(1, Relaxed);
        // `$KV.BUCKET.BRANCH.KIND.NAME` or `...KIND.NAMESPACE.NAME`.
        let mut words = message.subject.split('.').skip(3);
        let kind = match words.next() {
            Some("namespaces") => 0,
            Some("services") => 1,
            _ => 2,
        };
        if let Some(name) = words.last() {
            self.audience.look(name.as_bytes(), &mut self.newest[kind]);
        }
    }
}

/// A message of the server's.
struct Message {
    subject: String,
    /// It came by the first subscription.
    of_consumer: bool,
    reply: String,
    headers: String,
    payload: Vec<u8>,
    /// It is a word of the server's about the consumer.
    status: bool,
}

/// Where a record stands.
struct Position {
    stream: u64,
    consumer: u64,
    pending: u64,
}

impl Message {
    /// The subject on which the consumer waits for us.
    fn flow_control(&self) -> Option<&str> {
        if !self.status {
            return None;
        }
        let stalled = self.headers.lines();
        let mut stalled = stalled.filter_map(|line| line.strip_prefix("Nats-Consumer-Stalled: "));
        match self.reply.as_str() {
            "" => stalled.next().map(str::trim),
            reply => Some(reply),
        }
    }

    /// From the subject for acknowledgments: `$JS.ACK.STREAM.CONSUMER.DELIVERED.STREAM.CONSUMER.TIME.PENDING`.
    fn position(&self) -> Option<Position> {
        let tokens: Vec<&str> = self.reply.split('.').collect();
        let [_, _, _, _, _, stream, consumer, _, pending] = tokens[..] else {
            return None;
        };
        Some(Position {
            stream: stream.parse().ok()?,
            consumer: consumer.parse().ok()?,
            pending: pending.parse().ok()?,
        })
    }
}

/// A connection and what has come of the next message.
struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Of the buffer, done with.
    read: usize,
}

impl Wire {
    /// The next message; nothing if it was not a message.
    async fn next(&mut self) -> Result<Option<Message>> {
        let line = loop {
            let rest = &self.buffer[self.read..];
            match rest.windows(2).position(|two| two == b"\r\n") {
                Some(end) => break end,
                None => self.fill().await?,
            }
        };
        let text = String::from_utf8(self.buffer[self.read..self.read + line].to_vec())?;
        self.read += line + 2;
        let words: Vec<&str> = text.split(' ').collect();
        let (subject, id, reply, headers, total) = match words[..] {
            ["MSG", subject, id, total] => (subject, id, "", "0", total),
            ["MSG", subject, id, reply, total] => (subject, id, reply, "0", total),
            ["HMSG", subject, id, headers, total] => (subject, id, "", headers, total),
            ["HMSG", subject, id, reply, headers, total] => (subject, id, reply, headers, total),
            ["PING", ..] => {
                self.write("PONG\r\n").await?;
                return Ok(None);
            }
            ["-ERR", ..] => bail!("{text}"),
            _ => return Ok(None),
        };
        let (headers, total): (usize, usize) = (headers.parse()?, total.parse()?);
        while self.buffer.len() < self.read + total + 2 {
            self.fill().await?;
        }
        let body = &self.buffer[self.read..self.read + total];
        let (headers, payload) = body.split_at_checked(headers).context("headers")?;
        let headers = String::from_utf8_lossy(headers).into_owned();
        let message = Message {
            subject: subject.to_owned(),
            of_consumer: id == "1",
            reply: reply.to_owned(),
            status: headers.starts_with("NATS/1.0 "),
            headers,
            payload: payload.to_vec(),
        };
        self.read += total + 2;
        Ok(Some(message))
    }

    /// Waits for more.
    async fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.read);
        self.read = 0;
        loop {
            self.stream.readable().await?;
            let mut piece = [0; 16 * 1024];
            match self.stream.try_read(&mut piece) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => {
                    self.buffer.extend_from_slice(&piece[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends all of a text.
    async fn write(&mut self, text: &str) -> Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
