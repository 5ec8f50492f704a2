//! A small WebSocket client (RFC 6455) on a plain socket: one frame for each message, with less than 126 bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::wait::PATIENCE;

/// The key of the example in the RFC, and what the server makes of it.
const KEY: (&str, &str) = ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

/// A client masks what it sends, with any four bytes.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end of the connection, with a code of two bytes.
    Close = 8,
    /// Asks for a pong with the same content.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket(BufReader<TcpStream>);

impl WebSocket {
    /// Opens one, or returns the status with which the server refuses it.
    pub fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut socket = BufReader::new(stream);
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {}\r\n{headers}\r\n",
            KEY.0
        );
        socket.get_mut().write_all(request.as_bytes()).expect("the server takes the request");
        let lines = socket.by_ref().lines().map(|line| line.expect("a head"));
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let status = head.first().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        if status != 101 {
            return Err(status);
        }
        let accepts =
            |line: &String| line.to_ascii_lowercase().starts_with("sec-websocket-accept:") && line.ends_with(KEY.1);
        assert!(head.iter().any(accepts), "{head:?}");
        Ok(Self(socket))
    }

    /// Sends a message.
    pub fn send(&mut self, kind: Kind, content: &[u8]) {
        assert!(content.len() < 126, "the length needs more bytes");
        let mut frame = vec![FINAL | kind as u8, MASKED | content.len() as u8];
        frame.extend(MASK);
        frame.extend(content.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.0.get_mut().write_all(&frame).expect("the server takes the frame");
    }

    /// Receives a message.
    pub fn receive(&mut self) -> (Kind, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).expect("a frame");
        let kinds = [Kind::Text, Kind::Binary, Kind::Close, Kind::Ping, Kind::Pong];
        let kind = kinds.into_iter().find(|kind| head[0] == FINAL | *kind as u8).expect("a whole message");
        assert!(head[1] < 126, "the length needs more bytes");
        let mut content = vec![0; head[1].into()];
        self.0.read_exact(&mut content).expect("the frame's content");
        (kind, content)
    }

    /// Sends a text, and receives one.
    pub fn ask(&mut self, text: &str) -> String {
        self.send(Kind::Text, text.as_bytes());
        let (kind, content) = self.receive();
        assert_eq!(kind, Kind::Text);
        String::from_utf8(content).expect("a text")
    }
}
