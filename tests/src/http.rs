//! The smallest web server that curl believes, inside a pod's network; and the agent's pages.

use crate::namespace::Namespaces;
use anyhow::{Context, Result, ensure};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    os::fd::AsRawFd,
    thread,
    time::Duration,
};

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A page of a server in the caller's network; an error unless the status is 200.
pub fn page(server: impl ToSocketAddrs, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: agent\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP response")?;
    ensure!(head.split(' ').nth(1) == Some("200"), "{path}: {head}");
    Ok(body.to_owned())
}

/// Answers every request with one body; stops when dropped.
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Listens on `address` inside the namespaces.
    pub fn start(namespaces: &Namespaces, address: &str, body: &'static str) -> Result<Self> {
        let address: SocketAddr = address.parse()?;
        let listener = namespaces.with_network(|| Ok(TcpListener::bind(address)?))?;
        let server = Self {
            listener: listener.try_clone()?,
        };
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                // A client that goes away is no matter.
                let _ = respond(stream, body);
            }
        });
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: the listener's descriptor is open; shutdown wakes the thread that accepts.
        unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

/// Reads the request's head and sends the body.
fn respond(mut stream: TcpStream, body: &str) -> Result<()> {
    let mut head = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    let length = body.len();
    write!(
        stream,
        "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    Ok(())
}
