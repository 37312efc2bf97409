//! The gateway between a real smbd, real callers and real servers.

fn main() {}
