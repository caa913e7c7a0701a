//! `veridical serve` over a socket.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::json;
use veridical::train::{Existing, RunDir};

use super::{command, fails};

/// A server that ends with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn of(folder: &Path) -> Self {
        let mut child = command(&["serve", folder.to_str().unwrap(), "--port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().strip_suffix('/').unwrap().to_string();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        Server { child, address }
    }

    fn port(&self) -> &str {
        self.address.rsplit_once(':').unwrap().1
    }

    /// Status, head and body of the answer to a request.
    fn answer(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), body.len());
        (status, head.into(), body.into())
    }

    fn get(&self, target: &str) -> (u16, String) {
        let (status, _, body) = self.answer(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        (status, body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A run with some lines of a log, a picture and a report.
fn run(folder: &Path, name: &str, steps: u64) -> RunDir {
    let run = RunDir::create(folder.join(name), Existing::Refuse).unwrap();
    let mut log = run.log().unwrap();
    for step in 1..=steps {
        log.append(&json!({"step": step, "seen": 4 * step, "loss": 1.0 / step as f64})).unwrap();
    }
    log.append(&json!({"step": steps, "seen": 4 * steps, "kid": 0.25, "kid_error": 0.5})).unwrap();
    fs::create_dir(run.path().join("samples")).unwrap();
    image::GrayImage::new(8, 8).save(run.path().join("samples/000000000004.png")).unwrap();
    run.write("report.html", format!("<p>report of {name}</p>").as_bytes()).unwrap();
    run
}

#[test]
fn runs_stand_beside_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs");
    fs::create_dir(&runs).unwrap();
    let server = Server::of(&runs);
    let (status, page) = server.get("/");
    assert!(status == 200 && page.contains("There is no run yet"), "{page}");

    run(&runs, "a", 50);
    run(&runs, "b/<i> & c", 3);
    let (status, page) = server.get("/");
    assert_eq!(status, 200);
    for part in [
        "<td>a</td>",
        "b/&lt;i&gt; &amp; c",
        "kid 0.25",
        " s ago</td>",
        "location.reload()",
        "<h2>loss</h2>",
        "<h2>kid</h2>",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!page.contains("<i>"), "names are no markup");
    assert_eq!(page.matches("<img ").count(), 2 + 2, "two charts, a picture of each run");
    assert_eq!(page.matches(" checked>").count(), 2);

    // One of them, and one that there is not.
    let (_, page) = server.get("/?run=b%2F%3Ci%3E+%26+c&run=gone");
    assert!(page.contains("There is no run gone.") && page.matches(" checked>").count() == 1, "{page}");
    let link = page.split_once("href=\"").unwrap().1.split_once('"').unwrap().0;
    assert_eq!(server.get(link), (200, "<p>report of b/<i> & c</p>".into()));

    // A log that is being written, and one that is broken.
    let log = runs.join("a/log.jsonl");
    let whole = fs::read_to_string(&log).unwrap();
    fs::write(&log, format!("{whole}{{\"step\":51,\"lo")).unwrap();
    assert!(server.get("/").1.contains("<td class=n>50</td>"));
    fs::write(&log, format!("{whole}nonsense\n")).unwrap();
    let (status, page) = server.get("/");
    assert!(status == 200 && page.contains("a: its log cannot be read") && page.contains("line 52"), "{page}");
    // Something else in the place of a picture.
    fs::write(runs.join("a/samples/000000000008.png"), "no picture").unwrap();
    assert_eq!(server.get("/?run=a").0, 200);
    fs::remove_file(runs.join("a/report.html")).unwrap();
    let (status, text) = server.get("/report?run=a");
    assert!(status == 404 && text.contains("no report yet"), "{text}");
}

#[test]
fn nothing_else_is_served() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    run(dir.path(), "outside", 1);
    let runs = dir.path().join("runs");
    run(&runs, "a", 1);
    let server = Server::of(&runs);
    for target in [
        "/secret",
        "/../secret",
        "/%2e%2e/secret",
        "/a/log.jsonl",
        "/report",
        "/report?run=..%2Foutside",
        "/report?run=../outside",
        "/report?run=a/../../outside",
        "/report?run=",
        "//etc/passwd",
        "http://localhost/",
    ] {
        let (status, body) = server.get(target);
        assert!(status == 404 && !body.contains("secret") && !body.contains("report of"), "{target}: {status} {body}");
    }
    let request = |method: &str, host: &str| format!("{method} / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"] {
        let (status, head, _) = server.answer(&request(method, "localhost"));
        assert!(status == 405 && head.contains("Allow: GET"), "{method}: {head}");
    }
    assert_eq!(server.answer(&request("GET", "example.org")).0, 403);
    assert_eq!(server.answer("nonsense\r\n\r\n").0, 400);
    let (_, head, _) = server.answer(&request("GET", &server.address));
    assert!(head.contains("default-src 'none'") && head.contains("nosniff"), "{head}");
    // Somebody who connects and says nothing keeps nobody else waiting.
    let silent: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    assert_eq!(server.get("/").0, 200);
    drop(silent);
}

#[test]
fn what_cannot_be_served_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::of(dir.path());
    let error = fails(2, &["serve", dir.path().to_str().unwrap(), "--port", server.port()]);
    assert!(error.contains(&format!("--port {}", server.port())) && error.contains("another program"), "{error}");
    let error = fails(2, &["serve", dir.path().join("none").to_str().unwrap()]);
    assert!(error.contains("none: there is no such folder"), "{error}");
    let error = fails(2, &["serve", dir.path().to_str().unwrap(), "--port", "70000"]);
    assert!(error.contains("70000"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::of(dir.path());
    let _open = TcpStream::connect(&server.address).unwrap();
    let id = server.child.id().to_string();
    // SIGINT is ignored where tests run in the background of a shell, and means the same.
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(server.child.wait().unwrap().code(), Some(130));
}
