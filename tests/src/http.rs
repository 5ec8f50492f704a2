//! A small HTTP/1.1 client on a plain socket. It sends exactly the given bytes, and shows the whole answer.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::wait::PATIENCE;

/// A server that takes requests: an application in this process or in another.
pub trait Server {
    /// The address.
    fn address(&self) -> SocketAddr;

    /// A new connection.
    fn open(&self) -> Connection {
        Connection::open(self.address())
    }

    /// `GET path` on a connection of its own.
    fn get(&self, path: &str) -> Reply {
        self.open().get(path)
    }

    /// `GET path` with headers, on a connection of its own.
    fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.open().ask("GET", path, headers)
    }

    /// The statuses of this many requests, one after the other on one connection.
    fn statuses(&self, path: &str, requests: usize) -> Vec<u16> {
        let mut connection = self.open();
        (0..requests).map(|_| connection.get(path).status).collect()
    }
}

/// One keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// An answer, with its headers in the order of their arrival.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: String,
}

impl Connection {
    /// Connects; every later read and write is bounded by [`PATIENCE`].
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Opens a connection like [`Connection::open`], to a server that may be gone.
    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends bytes unchanged: a part of a request, or several requests.
    pub fn send(&mut self, bytes: &str) {
        self.try_send(bytes).expect("the server takes what is sent");
    }

    /// Sends bytes like [`Connection::send`], to a server that may be gone.
    pub fn try_send(&mut self, bytes: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_bytes())
    }

    /// Sends one request without a body and reads the answer.
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(&request(method, path, headers));
        self.reply_to(method)
    }

    /// `GET path`.
    pub fn get(&mut self, path: &str) -> Reply {
        self.ask("GET", path, &[])
    }

    /// Reads the next answer, to a request other than `HEAD`.
    pub fn reply(&mut self) -> Reply {
        self.reply_to("GET")
    }

    /// Reads the next answer. An answer to `HEAD` has no body, whatever its headers say.
    pub fn reply_to(&mut self, method: &str) -> Reply {
        self.try_reply_to(method).expect("a whole answer")
    }

    /// Reads an answer like [`Connection::reply`], from a server that may be gone.
    pub fn try_reply(&mut self) -> io::Result<Reply> {
        self.try_reply_to("GET")
    }

    fn try_reply_to(&mut self, method: &str) -> io::Result<Reply> {
        let status = status_of(&self.line()?)?;
        let mut reply = Reply { status, headers: self.headers()?, body: String::new() };
        if method != "HEAD" && status != 204 && status != 304 {
            reply.body = self.body(&reply)?;
        }
        Ok(reply)
    }

    /// Whether something of an answer has come.
    pub fn has_answer(&mut self) -> bool {
        let stream = self.stream.get_ref();
        let mut byte = [0];
        drop(stream.set_nonblocking(true));
        let is_there = stream.peek(&mut byte).is_ok();
        drop(stream.set_nonblocking(false));
        is_there
    }

    /// Whether the server has closed the connection without sending anything more.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(rest) => rest.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("an answer broken off after {line:?}"))),
        }
    }

    fn headers(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(headers);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn body(&mut self, reply: &Reply) -> io::Result<String> {
        if reply.header("transfer-encoding") == Some("chunked") {
            return self.chunks();
        }
        let length = reply.header("content-length").unwrap_or("0");
        self.text(length.parse().map_err(|_| invalid(length))?)
    }

    fn chunks(&mut self) -> io::Result<String> {
        let mut body = String::new();
        loop {
            let line = self.line()?;
            let length = usize::from_str_radix(&line, 16).map_err(|_| invalid(&line))?;
            body.push_str(&self.text(length)?);
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn text(&mut self, length: usize) -> io::Result<String> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        String::from_utf8(bytes).map_err(|error| invalid(&error.to_string()))
    }
}

impl Reply {
    /// The value of the first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The number in a header that must be present.
    pub fn number(&self, name: &str) -> u64 {
        let value = self.header(name).unwrap_or_else(|| panic!("no header {name} in {self:?}"));
        value.parse().unwrap_or_else(|_| panic!("{name}: {value:?} is no number"))
    }

    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
    pub fn x_headers(&self) -> (u64, u64, u64) {
        (self.number("x-ratelimit-limit"), self.number("x-ratelimit-remaining"), self.number("x-ratelimit-reset"))
    }
}

/// The text of a request without a body.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text + "\r\n"
}

fn status_of(line: &str) -> io::Result<u16> {
    let code = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.and_then(|code| code.parse().ok()).ok_or_else(|| invalid(line))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {what:?}"))
}
