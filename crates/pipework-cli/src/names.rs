//! Names that look like paths: a pipe may have such a name, but mostly a Unix domain socket is meant.

use std::ffi::OsStr;

/// The hint for a name that looks like a relative path.
#[cfg(unix)]
pub(crate) fn path_hint(argument: &OsStr) -> Option<String> {
    use std::{
        env,
        os::unix::fs::FileTypeExt,
        path::{Path, PathBuf},
    };

    use pipework::{PipeName, PipeNameKind};

    let text = argument.to_str()?;
    let name = PipeName::new(argument).ok()?;
    // A name with a prefix is meant as one.
    if !matches!(name.kind(), PipeNameKind::Local(local) if local == text) {
        return None;
    }
    let path = Path::new(text);
    let is_like_path = ["./", "../", "~/"].iter().any(|start| text.starts_with(start))
        || path.extension().is_some_and(|extension| extension == "sock" || extension == "socket")
        || path.metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    if !is_like_path {
        return None;
    }
    let path = match text.strip_prefix("~/") {
        Some(rest) => PathBuf::from(env::var_os("HOME")?).join(rest),
        None => env::current_dir().ok()?.join(text.strip_prefix("./").unwrap_or(text)),
    };
    Some(format!(
        "`{text}` is the name of a pipe; for a Unix domain socket use its absolute path, {}",
        path.display()
    ))
}

/// There are no sockets with paths.
#[cfg(not(unix))]
pub(crate) fn path_hint(_argument: &OsStr) -> Option<String> {
    None
}
