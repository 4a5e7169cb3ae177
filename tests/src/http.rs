//! The smallest web server that curl believes, inside a pod's network.

use crate::namespace::Namespaces;
use anyhow::Result;
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    thread,
};

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
