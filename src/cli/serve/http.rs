//! As much of HTTP as a page that is only looked at needs: GET, an answer, and good-bye.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// What a request may be long at most; a browser's are some hundred bytes.
const MOST: usize = 16 << 10;
/// Headers of a request at most.
const HEADERS: usize = 64;
/// Nothing from elsewhere; the pages' own styles and their reloading stand in them.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A request that is to be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    query: Vec<(String, String)>,
}

impl Asked {
    /// All values of this name in the address.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    pub fn page(html: impl Into<Vec<u8>>) -> Self {
        Answer { status: 200, kind: "text/html; charset=utf-8", body: html.into() }
    }

    /// A refusal in words.
    pub fn text(status: u16, text: &str) -> Self {
        Answer { status, kind: "text/plain; charset=utf-8", body: format!("{text}\n").into_bytes() }
    }

    /// Sends it, and ends the connection.
    pub fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            _ => "Internal Server Error",
        };
        let allow = if self.status == 405 { "Allow: GET\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             Content-Security-Policy: {POLICY}\r\n\r\n",
            self.status,
            self.kind,
            self.body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(&self.body)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        // Closed with something unread, a connection is reset, and the answer may be lost.
        io::copy(&mut stream.take(MOST as u64), &mut io::sink()).map(drop)
    }
}

/// Reads a request, which is to be answered or was refused. Errors where the other side is gone, or keeps silent.
pub fn read(stream: &mut impl Read) -> io::Result<Result<Asked, Answer>> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 2048]);
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(request) = parsed(&bytes) {
            return Ok(request);
        }
        if bytes.len() > MOST {
            return Ok(Err(Answer::text(431, "the request is too long")));
        }
    }
}

/// The request in these bytes; `None` if it is not whole.
fn parsed(bytes: &[u8]) -> Option<Result<Asked, Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => {
            return Some(Err(Answer::text(431, "the request has too many headers")));
        }
        Err(e) => return Some(Err(Answer::text(400, &format!("no request of HTTP: {e}")))),
    }
    Some(understood(&request))
}

fn understood(request: &httparse::Request) -> Result<Asked, Answer> {
    let host = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
    if !host.and_then(|host| std::str::from_utf8(host.value).ok()).is_some_and(is_loopback) {
        let what = "this page is for this machine alone; open it as localhost, through a tunnel (ssh -L) if need be";
        return Err(Answer::text(403, what));
    }
    if request.method != Some("GET") {
        return Err(Answer::text(405, "this page is only looked at: GET"));
    }
    let target = request.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Asked { path: path.into(), query: form_urlencoded::parse(query.as_bytes()).into_owned().collect() })
}

/// Whether a name of a host, perhaps with a port, is this machine's for itself. A page elsewhere can have its own name
/// lead here, and would be answered by browsers of this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Result<Asked, u16> {
        read(&mut text.as_bytes()).unwrap().map_err(|refused| refused.status)
    }

    #[test]
    fn requests_are_read_and_others_refused() {
        let asked = ask("GET /report?run=a%2Fb+c&run=%C3%A4&x HTTP/1.1\r\nHost: localhost:7007\r\n\r\n").unwrap();
        assert_eq!(
            (asked.path.as_str(), asked.all("run"), asked.all("y")),
            ("/report", vec!["a/b c", "\u{e4}"], vec![])
        );
        for (text, status) in [
            ("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
            ("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
            ("GET / HTTP/1.1\r\n\r\n", 403),
            ("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", 403),
            ("GET / HTTP/1.1\r\nHost: localhost.example.org:7007\r\n\r\n", 403),
            ("GET /\r\n\r\n", 400),
            ("\x16\x03\x01\x02 tls", 400),
        ] {
            assert_eq!(ask(text), Err(status), "{text:?}");
        }
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(2 * MOST));
        assert_eq!(ask(&long), Err(431));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1));
        assert_eq!(ask(&many), Err(431));
        assert!(read(&mut "GET / HT".as_bytes()).is_err() && read(&mut io::empty()).is_err());
    }

    #[test]
    fn hosts_of_this_machine_are_known() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:7007", "[::1]", "[::1]:7007"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", ":80", "127.0.0.1.example.org", "192.168.0.1", "localhost:x", "::1"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
