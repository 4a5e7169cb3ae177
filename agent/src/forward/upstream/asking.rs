//! One question asked of one upstream, over each transport.

use super::{Pipeline, Purpose, Trouble, Upstream};
use crate::forward::{
    Question, lock,
    pool::Timed,
    settings::Transport,
    wire::{self, Wire},
};
use futures::StreamExt;
use hickory_net::{
    DnsHandle,
    proto::op::{DnsRequest, DnsRequestOptions, Edns, Message},
    runtime::TokioRuntimeProvider,
    tcp::TcpClientStream,
    tls::tls_exchange,
    udp::UdpClientStream,
    xfer::{DnsExchange, DnsRequestSender},
};
use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};
use tokio::time::timeout_at;

/// How long `auto` stays with UDP after no TCP connection could be opened.
const UDP_FOR: Duration = Duration::from_secs(60);
/// The most questions under way on one connection of an upstream that answers in any order.
const PIPELINE_LIMIT: usize = 1024;
/// The largest UDP answer that is asked for (RFC 9715 3.1, DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;

impl Upstream {
    /// Asks; the answer is one to this question, with any response code.
    pub(super) async fn exchange(
        &self,
        purpose: Purpose,
        question: &Question,
        deadline: Instant,
    ) -> Result<Message, Trouble> {
        match self.settings.transport {
            Transport::Tcp | Transport::Tls => self.ask_stream(purpose, question, deadline).await,
            Transport::Udp => self.ask_udp(purpose, question, deadline).await,
            Transport::Auto => self.ask_either(purpose, question, deadline).await,
        }
    }

    // ---- over connections -----------------------------------------------------------------------

    async fn ask_stream(
        &self,
        purpose: Purpose,
        question: &Question,
        deadline: Instant,
    ) -> Result<Message, Trouble> {
        let query = query(question, None);
        let asking = async {
            if self.settings.pipeline && purpose == Purpose::Answer {
                self.ask_pipeline(&query, question, deadline).await
            } else {
                self.ask_wire(purpose, &query, question).await
            }
        };
        timeout_at(deadline.into(), asking)
            .await
            .unwrap_or(Err(Trouble::Timeout))
    }

    /// One question on one connection.
    async fn ask_wire(
        &self,
        purpose: Purpose,
        query: &Message,
        question: &Question,
    ) -> Result<Message, Trouble> {
        let (permit, idle) = match purpose {
            Purpose::Answer => (Some(self.connections.acquire().await), self.take_idle()),
            Purpose::Probe => (None, None),
        };
        if let Some(mut timed) = idle {
            match timed.connection.exchange(query, question).await {
                Ok(message) => {
                    self.metrics.reused.inc();
                    lock(&self.idle).give(timed, Instant::now());
                    return Ok(message);
                }
                // It was closed as we wrote: the question goes out once more, on a new one.
                Err(Trouble::Closed) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        let wire = self.connect().await?;
        let chance = RandomState::new().hash_one(query.metadata.id);
        let mut timed = Timed::new(wire, &self.group.pool, chance, Instant::now());
        let message = timed.connection.exchange(query, question).await?;
        lock(&self.idle).give(timed, Instant::now());
        drop(permit);
        Ok(message)
    }

    fn take_idle(&self) -> Option<Timed<Wire>> {
        loop {
            let mut timed = lock(&self.idle).take(Instant::now())?;
            if timed.connection.is_quiet() {
                return Some(timed);
            }
        }
    }

    async fn connect(&self) -> Result<Wire, Trouble> {
        self.metrics.connections.inc();
        let address = self.settings.address;
        let opening = async {
            match (self.trusted.load(), self.settings.transport) {
                (Some(trust), Transport::Tls) => Wire::tls(address, &trust).await,
                (None, Transport::Tls) => Err(Trouble::Connect("TLS cannot be used".into())),
                _ => Wire::tcp(address, self.connect_timeout).await,
            }
        };
        self.in_time(opening).await
    }

    /// Opening a connection, TLS and all, takes so long at most.
    async fn in_time<T>(
        &self,
        opening: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        match tokio::time::timeout(self.connect_timeout, opening).await {
            Ok(result) => result,
            Err(_) => Err(Trouble::Connect("it took too long".into())),
        }
    }

    /// One of many questions on the one connection; once more if that one had ended.
    async fn ask_pipeline(
        &self,
        query: &Message,
        question: &Question,
        deadline: Instant,
    ) -> Result<Message, Trouble> {
        let mut last = Trouble::Closed;
        for _ in 0..2 {
            let exchange = self.pipeline(deadline).await?;
            let request = DnsRequest::new(query.clone(), DnsRequestOptions::default());
            match exchange.send(request).next().await {
                Some(Ok(response)) => {
                    let message = response.into_message();
                    wire::check_question(&message, question)?;
                    return Ok(message);
                }
                Some(Err(_)) => last = Trouble::Closed,
                None => return Err(Trouble::Timeout),
            }
            *self.pipeline.lock().await = None;
        }
        Err(last)
    }

    /// The connection for many questions, opened where there is none or an old one. The exchange
    /// runs until its last question is answered, also when a new one took its place.
    async fn pipeline(
        &self,
        deadline: Instant,
    ) -> Result<DnsExchange<TokioRuntimeProvider>, Trouble> {
        let mut pipeline = self.pipeline.lock().await;
        let now = Instant::now();
        if let Some(it) = pipeline.as_mut().filter(|it| now < it.retire) {
            it.used = now;
            self.metrics.reused.inc();
            return Ok(it.exchange.clone());
        }
        self.metrics.connections.inc();
        let provider = self.provider.clone();
        let address = self.settings.address;
        let limit = deadline
            .saturating_duration_since(now)
            .max(self.connect_timeout);
        let most = Some(PIPELINE_LIMIT);
        let opening = async {
            let opened = match (self.trusted.load(), self.settings.transport) {
                (Some(trust), Transport::Tls) => {
                    let config = trust.config.as_ref().clone();
                    let name = trust.name.clone();
                    tls_exchange(address, name, config, limit, most, provider).await
                }
                (None, Transport::Tls) => {
                    return Err(Trouble::Connect("TLS cannot be used".into()));
                }
                _ => TcpClientStream::exchange(address, None, limit, most, provider).await,
            };
            opened.map_err(Trouble::opening)
        };
        let exchange = self.in_time(opening).await?;
        let retire = now + self.group.pool.age;
        *pipeline = Some(Pipeline {
            exchange: exchange.clone(),
            retire,
            used: now,
        });
        Ok(exchange)
    }

    // ---- over UDP -------------------------------------------------------------------------------

    /// hickory's client: a socket and a random port for every question, sent again when an answer
    /// is late, anything that is no answer ignored. A truncated answer is asked for over TCP; if
    /// that fails, it is better than none.
    async fn ask_udp(
        &self,
        purpose: Purpose,
        question: &Question,
        deadline: Instant,
    ) -> Result<Message, Trouble> {
        let limit = deadline.saturating_duration_since(Instant::now());
        let builder = UdpClientStream::builder(self.settings.address, TokioRuntimeProvider::new());
        let mut stream = builder.with_timeout(Some(limit)).build();
        let mut options = DnsRequestOptions::default();
        options.edns_payload_len = UDP_PAYLOAD;
        let request = DnsRequest::new(query(question, Some(UDP_PAYLOAD)), options);
        let mut asking = stream.send_message(request);
        let message = match timeout_at(deadline.into(), asking.next()).await {
            Ok(Some(Ok(response))) => response.into_message(),
            Ok(Some(Err(error))) => return Err(Trouble::opening(error)),
            Ok(None) | Err(_) => return Err(Trouble::Timeout),
        };
        wire::check_question(&message, question)?;
        if !message.metadata.truncation {
            return Ok(message);
        }
        Ok(self
            .ask_stream(purpose, question, deadline)
            .await
            .unwrap_or(message))
    }

    async fn ask_either(
        &self,
        purpose: Purpose,
        question: &Question,
        deadline: Instant,
    ) -> Result<Message, Trouble> {
        let now = Instant::now();
        let over_udp = lock(&self.udp_until).is_some_and(|until| now < until);
        if !over_udp {
            match self.ask_stream(purpose, question, deadline).await {
                Err(Trouble::Connect(error)) => {
                    let upstream = self.settings.address;
                    tracing::info!(%upstream, error, "no TCP: asking over UDP for a minute");
                    *lock(&self.udp_until) = Some(now + UDP_FOR);
                }
                result => return result,
            }
        }
        self.ask_udp(purpose, question, deadline).await
    }
}

/// The query. EDNS is used where it is needed only: for DNSSEC records, and for larger answers over
/// UDP. Old servers answer without it best.
fn query(question: &Question, payload: Option<u16>) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = question.checking_disabled();
    message.metadata.authentic_data = question.dnssec_ok();
    message.add_query(question.to_query());
    if payload.is_some() || question.dnssec_ok() {
        let mut edns = Edns::new();
        edns.set_max_payload(payload.unwrap_or(UDP_PAYLOAD));
        edns.set_dnssec_ok(question.dnssec_ok());
        message.set_edns(edns);
    }
    message
}
