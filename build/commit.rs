//! Which commit is built, for `veridical --version`: told by the folder of git beside `Cargo.toml`, without the program
//! `git`, or in a package by what `cargo package` notes in it.
//!
//! The last line of the reflog says which commit is checked out. The command reads that line when it is compiled, so
//! that a commit compiles the command again and nothing else: were it read here, the whole crate would follow.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the commit stands.
#[derive(Debug, PartialEq)]
pub enum Commit {
    /// On the last line of this file, behind the commit before it.
    Reflog(PathBuf),
    /// Here.
    Known(String),
    /// Nowhere: neither a clone nor a package.
    Unknown,
}

impl Commit {
    /// That of the crate in `root`. A repository that the folder merely lies in says nothing of the crate.
    pub fn of(root: &Path) -> Commit {
        if let Some(folder) = git_folder(root) {
            let log = folder.join("logs/HEAD");
            // One that cannot be read would end the command's compilation.
            return match fs::read(&log).is_ok_and(|lines| !lines.is_empty()) {
                true => Commit::Reflog(log),
                false => head(&folder).map_or(Commit::Unknown, Commit::Known),
            };
        }
        let noted = fs::read_to_string(root.join(".cargo_vcs_info.json")).ok();
        noted.and_then(|text| packaged(&text)).map_or(Commit::Unknown, Commit::Known)
    }

    /// Files that show that the commit stands elsewhere now. None of them changes with every commit where there is a
    /// reflog.
    pub fn watched(&self, root: &Path) -> Vec<PathBuf> {
        let Some(folder) = git_folder(root) else { return Vec::new() };
        let names: &[&str] = match self {
            // What every folder of git has, of a worktree or of its own; it goes when the folder goes.
            Commit::Reflog(_) => &["gitdir", "config"],
            _ => &["HEAD", "logs", "refs", "packed-refs"],
        };
        names.iter().map(|name| folder.join(name)).filter(|path| path.exists()).collect()
    }

    /// Rust that is the commit, as the command includes it.
    pub fn rust(&self) -> String {
        let value = match self {
            Commit::Reflog(log) => format!("last_of_reflog(include_bytes!({:?}))", log.display().to_string()),
            Commit::Known(commit) => format!("id(b{commit:?}, 0)"),
            Commit::Unknown => "None".into(),
        };
        format!("/// The first digits of the commit, if it is known.\nconst COMMIT: Option<Id> = {value};\n")
    }
}

/// The folder of git, which for a worktree or a submodule a file names.
fn git_folder(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let text = fs::read_to_string(&git).ok()?;
    let folder = root.join(text.strip_prefix("gitdir:")?.trim());
    folder.is_dir().then_some(folder)
}

/// The commit that is checked out, where no reflog is kept.
fn head(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join("HEAD")).ok()?;
    let Some(name) = text.strip_prefix("ref:") else { return id(text.trim()) };
    let name = name.trim();
    // The branches of a worktree are in the repository that it belongs to.
    let shared = fs::read_to_string(folder.join("commondir")).map_or(folder.into(), |to| folder.join(to.trim()));
    if let Some(commit) = fs::read_to_string(shared.join(name)).ok().and_then(|text| id(text.trim())) {
        return Some(commit);
    }
    let packed = fs::read_to_string(shared.join("packed-refs")).ok()?;
    packed.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').and_then(id))
}

/// What `cargo package` notes of the repository that it packs: `{"git": {"sha1": "..."}}`.
fn packaged(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("\"sha1\"")?;
    id(rest.split('"').nth(1)?)
}

/// A text that is a commit's name.
fn id(text: &str) -> Option<String> {
    (text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_clone_a_worktree_a_package_and_neither_are_told_apart() {
        let root = std::env::temp_dir().join(format!("veridical-commit-{}", std::process::id()));
        let of = |name: &str| Commit::of(&root.join(name));
        for name in ["clone", "bare-log", "packed", "detached", "work", "package", "nothing/inner"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        write(&root.join("clone/.git/logs/HEAD"), "line\n");
        write(&root.join("clone/.git/config"), "");
        assert_eq!(of("clone"), Commit::Reflog(root.join("clone/.git/logs/HEAD")));
        assert_eq!(of("clone").watched(&root.join("clone")), [root.join("clone/.git/config")]);
        write(&root.join("bare-log/.git/HEAD"), "ref: refs/heads/main\n");
        write(&root.join("bare-log/.git/logs/HEAD"), "");
        write(&root.join("bare-log/.git/refs/heads/main"), &format!("{ID}\n"));
        assert_eq!(of("bare-log"), Commit::Known(ID.into()));
        write(&root.join("packed/.git/HEAD"), "ref: refs/heads/main\n");
        write(&root.join("packed/.git/packed-refs"), &format!("# pack-refs\n{ID} refs/heads/main\n"));
        assert_eq!(of("packed"), Commit::Known(ID.into()));
        write(&root.join("detached/.git/HEAD"), &format!("{ID}\n"));
        assert_eq!(of("detached"), Commit::Known(ID.into()));
        write(&root.join("work/.git"), "gitdir: ../packed/.git/worktrees/work\n");
        write(&root.join("packed/.git/worktrees/work/HEAD"), "ref: refs/heads/main\n");
        write(&root.join("packed/.git/worktrees/work/commondir"), "../..\n");
        assert_eq!(of("work"), Commit::Known(ID.into()));
        write(&root.join("package/.cargo_vcs_info.json"), &format!("{{\"git\": {{\"sha1\": \"{ID}\"}}}}"));
        assert_eq!(of("package"), Commit::Known(ID.into()));
        // A repository around the folder is somebody else's.
        write(&root.join("nothing/.git/HEAD"), &format!("{ID}\n"));
        assert_eq!(of("nothing/inner"), Commit::Unknown);
        assert!(of("nothing/inner").rust().contains("= None;"));
        fs::remove_dir_all(&root).unwrap();
    }
}
