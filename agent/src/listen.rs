//! The DNS listener, for programs that bypass libc: UDP and TCP on the configured addresses, several
//! sockets each. It owns sockets and the time that clients take; what they are told is
//! [`crate::answer`]'s.
//!
//! ```text
//!   datagrams ---> a thread per socket --(zone, cache)--> back at once --> sendmmsg
//!                       |                                                      ^
//!                       +--> a task (an upstream is asked) --------------------+
//!   connections --> a task each, framed, pipelined
//! ```
//!
//! Sockets are bound with SO_REUSEPORT, so the agent that comes after this one binds beside it; who
//! leaves answers what has come to its sockets (docs/decisions/0028). Addresses may appear later
//! (IP_FREEBIND). Nothing here ends the agent: what cannot be bound is tried again.

mod batch;
mod outbox;
mod pace;
mod socket;
mod tcp;
mod udp;

use crate::{
    answer::{Answerer, Policy},
    config::{Config, Listen},
};
use anyhow::Result;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, oneshot, watch},
    time::timeout,
};

/// How long it takes at most to answer what has come.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// How soon is tried again what could not be bound; each time twice as late.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// How late at most.
const RETRY_LAST: Duration = Duration::from_secs(30);

/// Serves what the configuration says, whenever that changes, until `stop`; then answers what has
/// come. The answerer is configured, too.
pub async fn run(
    answerer: Arc<Answerer>,
    mut config: watch::Receiver<Arc<Config>>,
    mut stop: oneshot::Receiver<()>,
) {
    let mut serving: Option<(Listen, Open)> = None;
    let mut retry = RETRY_FIRST;
    loop {
        let wanted = Arc::clone(&config.borrow_and_update());
        answerer.configure(Policy::new(&wanted));
        let mut wait = None;
        if serving.as_ref().map(|(listen, _)| listen) != wanted.listen.as_ref() {
            let old = serving.take();
            match wanted
                .listen
                .as_ref()
                .map(|listen| (listen, Open::bind(listen, &answerer)))
            {
                // The new ones are there before the old ones go.
                None => retire(old),
                Some((listen, Ok(open))) => {
                    retry = RETRY_FIRST;
                    serving = Some((listen.clone(), open));
                    retire(old);
                }
                Some((_, Err(error))) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        again_in = retry.as_secs(),
                        "cannot listen for DNS"
                    );
                    wait = Some(retry);
                    retry = (retry * 2).min(RETRY_LAST);
                    serving = old;
                }
            }
        }
        let again = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => core::future::pending().await,
            }
        };
        tokio::select! {
            _ = &mut stop => break,
            changed = config.changed() => if changed.is_err() {
                break;
            },
            () = again => {}
        }
    }
    if let Some((_, open)) = serving {
        open.drain().await;
    }
}

/// Lets sockets go in the background.
fn retire(old: Option<(Listen, Open)>) {
    if let Some((_, open)) = old {
        tokio::spawn(open.drain());
    }
}

/// Sockets that are served.
#[derive(Default)]
struct Open {
    udp: Vec<udp::Served>,
    tcp: Vec<tcp::Served>,
}

impl Open {
    /// Binds all of them, or none.
    fn bind(listen: &Listen, answerer: &Arc<Answerer>) -> Result<Self> {
        let mut open = Self::default();
        match open.bind_all(listen, answerer) {
            Ok(()) => Ok(open),
            Err(error) => {
                tokio::spawn(open.drain());
                Err(error)
            }
        }
    }

    fn bind_all(&mut self, listen: &Listen, answerer: &Arc<Answerer>) -> Result<()> {
        let limits = tcp::Limits {
            connections: Arc::new(Semaphore::new(listen.max_connections)),
            idle: listen.idle.duration(),
        };
        for address in listen.socket_addresses() {
            if !socket::is_present(address.ip()) {
                tracing::warn!(%address, "no interface has this address yet; it is served once one has");
            }
            let sockets = 0..listen.sockets;
            let mut here = address;
            for _ in sockets.clone().filter(|_| listen.udp) {
                let served = udp::Served::start(here, Arc::clone(answerer))?;
                // Of port 0 the kernel chooses one, for all.
                here = served.address().unwrap_or(here);
                self.udp.push(served);
            }
            for _ in sockets.filter(|_| listen.tcp) {
                let served = tcp::Served::start(here, Arc::clone(answerer), limits.clone())?;
                here = served.address();
                self.tcp.push(served);
            }
            tracing::info!(address = %here, udp = listen.udp, tcp = listen.tcp, "listening for DNS");
        }
        Ok(())
    }

    /// Answers what has come, then closes.
    async fn drain(self) {
        let udp = self
            .udp
            .into_iter()
            .map(|served| tokio::spawn(served.drain()));
        let tcp = self
            .tcp
            .into_iter()
            .map(|served| tokio::spawn(served.drain()));
        let all: Vec<_> = udp.chain(tcp).collect();
        let drained = timeout(DRAIN_WITHIN, async {
            for one in all {
                // A task that failed has nothing more to answer.
                let _ = one.await;
            }
        });
        if drained.await.is_err() {
            tracing::warn!("some DNS clients were not answered in time");
        }
    }
}
