//! `veridical serve`: a page of the runs below a folder, for the browser of whoever sits at this machine.

mod http;
mod page;
mod runs;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Answer, Asked};
use veridical::escape::escaped;
use veridical::{Error, Result, files};

use super::progress::note;
use super::{Ended, say};

/// Show the runs below a folder in a browser: their curves beside each other, samples and reports.
///
/// The page is at http://127.0.0.1:7007/, for programs on this machine alone; from elsewhere it is reached through a
/// tunnel, such as `ssh -L 7007:localhost:7007 HOST`. It changes nothing, and follows runs that go on. Ctrl-C ends it.
#[derive(clap::Args)]
pub struct Args {
    /// The folder with the directories of runs, or one such directory
    #[arg(value_name = "RUNS", default_value = "runs")]
    runs: PathBuf,
    /// Where to listen; 0: at any port that is free
    #[arg(long, default_value_t = 7007)]
    port: u16,
}

/// Browsers that are answered at once, at most; each opens a few connections.
const MOST: usize = 64;
/// How long a connection may keep silent.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn run(args: Args) -> Result<Ended> {
    let folder = args.runs;
    if !folder.is_dir() {
        let what = "there is no such folder; give the one that holds the directories of runs";
        return Err(Error::Config(format!("{}: {what}", escaped(&folder))));
    }
    let listener = listener(args.port)?;
    let address = listener.local_addr().map_err(|e| Error::io("the port", e))?;
    match runs::find(&folder)?.len() {
        0 => note(&format!("there is no run below {} yet: the page shows them as they come", folder.display())),
        count => note(&format!("{count} runs below {}; Ctrl-C ends this", folder.display())),
    }
    say(&format!("http://{address}/"))?;
    let (folder, open) = (Arc::new(folder), Arc::new(AtomicUsize::new(0)));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of files, mostly: those that are open are closed in time.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        let (folder, open) = (folder.clone(), open.clone());
        if open.fetch_add(1, Ordering::Relaxed) >= MOST {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let counted = open.clone();
        let served = std::thread::Builder::new().name("browser".into()).spawn(move || {
            // Whoever goes away in the middle has no use for an error.
            let _ = serve(stream, &folder);
            counted.fetch_sub(1, Ordering::Relaxed);
        });
        if served.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
    Ok(Ended::Done)
}

fn listener(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|e| {
        let why = match e.kind() {
            ErrorKind::AddrInUse => "another program listens there".to_string(),
            _ => e.to_string(),
        };
        Error::Config(format!("--port {port}: {why}; give another, or 0 for one that is free"))
    })
}

/// Answers one request.
fn serve(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let answer = match http::read(&mut stream)? {
        Ok(asked) => answer(&asked, folder),
        Err(refused) => refused,
    };
    answer.write(&mut stream)
}

fn answer(asked: &Asked, folder: &Path) -> Answer {
    let made = match asked.path.as_str() {
        "/" => runs::find(folder).and_then(|found| page::page(folder, &found, &asked.all("run"))).map(Answer::page),
        "/report" => report(asked, folder),
        _ => Ok(Answer::text(404, "there is no such page; the runs are at /")),
    };
    made.unwrap_or_else(|e| Answer::text(500, &e.to_string()))
}

/// The page that a run has written of itself. What is asked for is looked up among the runs that there are; no path is
/// made of it.
fn report(asked: &Asked, folder: &Path) -> Result<Answer> {
    let (found, wanted) = (runs::find(folder)?, asked.all("run"));
    let Some(run) = wanted.first().and_then(|name| found.iter().find(|run| run.name == *name)) else {
        return Ok(Answer::text(404, "there is no such run; those that there are are at /"));
    };
    let path = run.place.join("report.html");
    if !path.is_file() {
        return Ok(Answer::text(
            404,
            "this run has written no report yet; it does with its first samples, or at its end",
        ));
    }
    files::read(path).map(Answer::page)
}
