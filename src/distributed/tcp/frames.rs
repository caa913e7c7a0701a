//! What goes over a connection: frames of a kind, a length and so many bytes.

use std::io::{self, ErrorKind, Read, Write};

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A part of an exchange.
    Data = 1,
    /// A sign of life, without bytes.
    Beat = 2,
    /// The sender ends for this reason, a text.
    Abort = 3,
    /// The sender has come to its end.
    Bye = 4,
    /// Who is there, when ranks meet.
    Hello = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Kind::Data, Kind::Beat, Kind::Abort, Kind::Bye, Kind::Hello].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The bytes before those of the frame itself.
const HEAD: usize = 9;

/// Writes a frame.
pub fn write(to: &mut impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    let mut head = [0; HEAD];
    head[0] = kind as u8;
    head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    to.write_all(&head)?;
    to.write_all(bytes)?;
    to.flush()
}

/// Reads a frame of at most `most` bytes. Errors, besides those of the connection, on what is no frame of ours: some
/// other program's connection.
pub fn read(from: &mut impl Read, most: u64) -> io::Result<(Kind, Vec<u8>)> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head)?;
    let invalid = |what: String| io::Error::new(ErrorKind::InvalidData, what);
    let kind = Kind::of(head[0]).ok_or_else(|| invalid("what came is not from a rank of veridical".into()))?;
    let mut length = [0; 8];
    length.copy_from_slice(&head[1..]);
    let length = u64::from_le_bytes(length);
    if length > most {
        return Err(invalid(format!("a message of {length} bytes, where at most {most} are expected")));
    }
    // Grows as bytes come, not by what the head promises.
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == length {
        true => Ok((kind, bytes)),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_as_they_went() {
        let mut wire = Vec::new();
        write(&mut wire, Kind::Data, b"gradient").unwrap();
        write(&mut wire, Kind::Beat, b"").unwrap();
        let mut from = &wire[..];
        assert_eq!(read(&mut from, 100).unwrap(), (Kind::Data, b"gradient".to_vec()));
        assert_eq!(read(&mut from, 100).unwrap(), (Kind::Beat, Vec::new()));
        assert_eq!(read(&mut from, 100).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let other = read(&mut &b"GET / HTTP/1.1\r\n\r\n"[..], 100).unwrap_err();
        assert!(other.to_string().contains("not from a rank"), "{other}");
        let mut long = vec![Kind::Data as u8];
        long.extend(u64::MAX.to_le_bytes());
        let long = read(&mut &long[..], 100).unwrap_err().to_string();
        assert!(long.contains("at most 100"), "{long}");
        let mut torn = Vec::new();
        write(&mut torn, Kind::Abort, b"no memory").unwrap();
        assert_eq!(read(&mut &torn[..12], 100).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
