//! The `veridical` command, which is the library's `cli`; see `veridical help`. Its own is the commit that it was built
//! from: a commit so compiles this file again and nothing else.

/// As many digits of a commit's name tell it from all others.
type Id = [u8; 12];

include!(concat!(env!("OUT_DIR"), "/commit.rs"));

fn main() -> std::process::ExitCode {
    veridical::cli::command(std::env::args_os(), commit()).into()
}

/// The commit, where git or a package tells it. Changes that are not committed do not show.
fn commit() -> Option<&'static str> {
    COMMIT.as_ref().and_then(|id| std::str::from_utf8(id).ok())
}

/// The name that begins at `at`.
#[allow(dead_code)] // which of these are used depends on what is built
const fn id(text: &[u8], at: usize) -> Option<Id> {
    let mut id = [0; 12];
    let mut i = 0;
    while i < id.len() {
        if at + i >= text.len() || !text[at + i].is_ascii_hexdigit() {
            return None;
        }
        id[i] = text[at + i];
        i += 1;
    }
    Some(id)
}

/// The second name on the last line of a reflog: what was checked out last.
#[allow(dead_code)] // as above
const fn last_of_reflog(log: &[u8]) -> Option<Id> {
    let mut end = log.len();
    while end > 0 && log[end - 1] == b'\n' {
        end -= 1;
    }
    let mut at = end;
    while at > 0 && log[at - 1] != b'\n' {
        at -= 1;
    }
    while at < end && log[at] != b' ' {
        at += 1;
    }
    id(log, at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_reflog_says_what_is_checked_out() {
        let [none, a, b] = ["0", "a", "b"].map(|digit| digit.repeat(40));
        let log = format!("{none} {a} A <a@b> 1 +0000\tcommit (initial): One\n{a} {b} A <a@b> 2 +0000\tcommit: 2\n");
        assert_eq!(last_of_reflog(log.as_bytes()), Some([b'b'; 12]));
        assert_eq!(last_of_reflog(log.lines().next().unwrap().as_bytes()), Some([b'a'; 12]));
        for wrong in ["", "\n", "words", "words and words", "0000000000000000 abc"] {
            assert_eq!(last_of_reflog(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn this_build_tells_its_commit_if_it_can() {
        let known = commit();
        assert!(known.is_none_or(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())), "{known:?}");
        let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists();
        assert_eq!(repository, known.is_some(), "{known:?}");
    }
}
