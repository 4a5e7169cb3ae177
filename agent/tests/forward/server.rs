//! A DNS server on loopback that does what the test says, and counts.

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CNAME, SOA},
    },
};
use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// What the server does with one query.
pub(crate) enum Action {
    /// Answers with this; id and question are filled in.
    Answer(Message),
    /// Answers with these octets, with a length before them.
    Octets(Vec<u8>),
    /// Says nothing and keeps the connection.
    Hang,
    /// Closes the connection.
    Close,
    /// Resets it.
    Reset,
    /// Waits until the number of queries has come to this, then answers.
    After(usize, Message),
    /// Answers, then closes.
    Last(Message),
    /// Does something that takes time, then what it says.
    Do(Pin<Box<dyn Future<Output = Action> + Send>>),
}

/// Decides for each query.
type Script = Arc<Mutex<Box<dyn FnMut(&Message) -> Action + Send>>>;

/// What the server has seen, and how it is told what to do.
struct State {
    script: Script,
    asked: watch::Sender<Vec<String>>,
    connections: AtomicUsize,
    open: watch::Sender<usize>,
    ports: Mutex<BTreeSet<SocketAddr>>,
    pipelines: bool,
}

/// The running server; it ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    tasks: JoinSet<()>,
}

/// How a server is reached.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Over {
    Tcp,
    Udp,
    Both,
}

impl Server {
    /// Over TCP, one query at a time, as CoreDNS does.
    pub(crate) async fn start(script: impl FnMut(&Message) -> Action + Send + 'static) -> Self {
        Self::make(Over::Tcp, None, false, script).await
    }

    /// Over TCP, many queries at a time.
    pub(crate) async fn pipelining(
        script: impl FnMut(&Message) -> Action + Send + 'static,
    ) -> Self {
        Self::make(Over::Tcp, None, true, script).await
    }

    pub(crate) async fn over(
        over: Over,
        script: impl FnMut(&Message) -> Action + Send + 'static,
    ) -> Self {
        Self::make(over, None, false, script).await
    }

    pub(crate) async fn tls(
        acceptor: TlsAcceptor,
        script: impl FnMut(&Message) -> Action + Send + 'static,
    ) -> Self {
        Self::make(Over::Tcp, Some(acceptor), false, script).await
    }

    async fn make(
        over: Over,
        tls: Option<TlsAcceptor>,
        pipelines: bool,
        script: impl FnMut(&Message) -> Action + Send + 'static,
    ) -> Self {
        let state = Arc::new(State {
            script: Arc::new(Mutex::new(Box::new(script))),
            asked: watch::Sender::new(Vec::new()),
            connections: AtomicUsize::new(0),
            open: watch::Sender::new(0),
            ports: Mutex::default(),
            pipelines,
        });
        let mut tasks = JoinSet::new();
        // Both protocols want one number; a free TCP port is almost always free for UDP.
        let (listener, socket) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            if let Ok(socket) = UdpSocket::bind(address).await {
                break (listener, socket);
            }
        };
        let address = listener.local_addr().unwrap();
        if over != Over::Udp {
            tasks.spawn(accept(listener, tls, Arc::clone(&state)));
        }
        if over != Over::Tcp {
            tasks.spawn(datagrams(Arc::new(socket), Arc::clone(&state)));
        }
        Self {
            address,
            state,
            tasks,
        }
    }

    /// From now on it does this.
    pub(crate) fn script(&self, script: impl FnMut(&Message) -> Action + Send + 'static) {
        *self.state.script.lock().unwrap() = Box::new(script);
    }

    /// Every query so far: name and type.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.asked.borrow().clone()
    }

    /// How often this was asked.
    pub(crate) fn count(&self, question: &str) -> usize {
        self.asked().iter().filter(|it| *it == question).count()
    }

    /// Waits until this was asked so often.
    pub(crate) async fn wait_for(&self, question: &str, times: usize) {
        let mut asked = self.state.asked.subscribe();
        let enough = |all: &Vec<String>| all.iter().filter(|it| *it == question).count() >= times;
        let waiting = asked.wait_for(enough);
        timeout(DEADLINE, waiting)
            .await
            .unwrap_or_else(|_| {
                panic!("not asked {times} times for {question}: {:?}", self.asked())
            })
            .unwrap();
    }

    /// Waits until so many connections are open.
    pub(crate) async fn wait_for_open(&self, count: usize) {
        let mut open = self.state.open.subscribe();
        let waiting = open.wait_for(|it| *it == count);
        timeout(DEADLINE, waiting)
            .await
            .expect("connections")
            .unwrap();
    }

    /// The connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// The addresses that UDP queries came from.
    pub(crate) fn ports(&self) -> usize {
        self.state.ports.lock().unwrap().len()
    }

    /// Listens no more, and breaks its connections.
    pub(crate) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }
}

impl State {
    fn act(&self, query: &Message) -> Action {
        let question = &query.queries[0];
        let text = format!("{} {}", question.name(), question.query_type()).to_lowercase();
        self.asked.send_modify(|all| all.push(text));
        (self.script.lock().unwrap())(query)
    }

    /// Until there is an answer; nothing where there is to be none.
    async fn carry_out(&self, query: &Message) -> Result<(Option<Vec<u8>>, bool), Action> {
        let mut action = self.act(query);
        loop {
            action = match action {
                Action::Answer(message) => return Ok((Some(encode(query, message)), false)),
                Action::Last(message) => return Ok((Some(encode(query, message)), true)),
                Action::Octets(octets) => return Ok((Some(octets), false)),
                Action::Hang => return Ok((None, false)),
                Action::After(count, message) => {
                    let mut asked = self.asked.subscribe();
                    asked.wait_for(|all| all.len() >= count).await.unwrap();
                    Action::Answer(message)
                }
                Action::Do(future) => future.await,
                other => return Err(other),
            }
        }
    }
}

fn encode(query: &Message, mut answer: Message) -> Vec<u8> {
    answer.metadata.id = query.metadata.id;
    answer.metadata.message_type = MessageType::Response;
    if answer.queries.is_empty() {
        answer.queries = query.queries.clone();
    }
    answer.to_vec().unwrap()
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        state.connections.fetch_add(1, Ordering::Relaxed);
        state.open.send_modify(|open| *open += 1);
        let (state, tls) = (Arc::clone(&state), tls.clone());
        connections.spawn(async move {
            // A client may go at any moment.
            let _ = match tls {
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, &state, |_| {}).await,
                    Err(error) => Err(error),
                },
                None => {
                    let reset = |stream: &TcpStream| stream.set_zero_linger().unwrap();
                    serve(stream, &state, reset).await
                }
            };
            state.open.send_modify(|open| *open -= 1);
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut stream: S,
    state: &Arc<State>,
    reset: impl Fn(&S),
) -> io::Result<()> {
    if state.pipelines {
        return serve_all(stream, state).await;
    }
    loop {
        let query = read(&mut stream).await?;
        match state.carry_out(&query).await {
            Ok((Some(octets), last)) => {
                write(&mut stream, &octets).await?;
                if last {
                    return stream.shutdown().await;
                }
            }
            Ok((None, _)) => {}
            Err(Action::Reset) => {
                reset(&stream);
                return Ok(());
            }
            Err(_) => return Ok(()),
        }
    }
}

/// Every query is answered when its answer is ready.
async fn serve_all<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    state: &Arc<State>,
) -> io::Result<()> {
    let (mut reader, writer) = tokio::io::split(stream);
    let writer = Arc::new(tokio::sync::Mutex::new(writer));
    let mut answers = JoinSet::new();
    loop {
        let query = read(&mut reader).await?;
        let (state, writer) = (Arc::clone(state), Arc::clone(&writer));
        answers.spawn(async move {
            if let Ok((Some(octets), _)) = state.carry_out(&query).await {
                let _ = write(&mut *writer.lock().await, &octets).await;
            }
        });
    }
}

async fn read<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Message> {
    let length = reader.read_u16().await?;
    let mut octets = vec![0; length.into()];
    reader.read_exact(&mut octets).await?;
    Ok(Message::from_vec(&octets).unwrap())
}

async fn write<W: AsyncWrite + Unpin>(writer: &mut W, octets: &[u8]) -> io::Result<()> {
    let mut framed = u16::try_from(octets.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(octets);
    writer.write_all(&framed).await
}

async fn datagrams(socket: Arc<UdpSocket>, state: Arc<State>) {
    let mut octets = vec![0; 65_535];
    let mut answers = JoinSet::new();
    loop {
        let (length, from) = socket.recv_from(&mut octets).await.unwrap();
        state.ports.lock().unwrap().insert(from);
        let query = Message::from_vec(&octets[..length]).unwrap();
        let (socket, state) = (Arc::clone(&socket), Arc::clone(&state));
        answers.spawn(async move {
            if let Ok((Some(octets), _)) = state.carry_out(&query).await {
                socket.send_to(&octets, from).await.unwrap();
            }
        });
    }
}

// ---- messages ---------------------------------------------------------------------------------

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub(crate) fn empty(code: ResponseCode) -> Message {
    Message::error_msg(0, hickory_proto::op::OpCode::Query, code)
}

/// An answer with one address for whatever was asked.
pub(crate) fn address(query: &Message, ttl: u32, address: [u8; 4]) -> Message {
    let mut message = empty(ResponseCode::NoError);
    message.metadata.recursion_available = true;
    let owner = query.queries[0].name().clone();
    message.add_answer(a(owner, ttl, address));
    message
}

pub(crate) fn a(owner: Name, ttl: u32, address: [u8; 4]) -> Record {
    Record::from_rdata(owner, ttl, RData::A(A(Ipv4Addr::from(address))))
}

pub(crate) fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

/// A negative answer with the SOA record of `example.`
pub(crate) fn denial(code: ResponseCode, ttl: u32, minimum: u32) -> Message {
    let mut message = empty(code);
    let soa = SOA::new(
        name("ns.example."),
        name("root.example."),
        1,
        2,
        3,
        4,
        minimum,
    );
    message.add_authority(Record::from_rdata(name("example."), ttl, RData::SOA(soa)));
    message
}

/// Whether a query is for addresses: neither a probe nor a search for loops.
pub(crate) fn is_probe(query: &Message) -> bool {
    matches!(
        query.queries[0].query_type(),
        RecordType::HINFO | RecordType::NS | RecordType::SOA
    )
}
