//! Whether an address is free.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use crate::error::Error;

/// An error if something listens there. Envoy would not notice another Envoy of the same user (both with
/// `SO_REUSEPORT`), and the two would share the clients.
pub(super) fn check(address: SocketAddr, listener: &str) -> Result<(), Error> {
    let Err(error) = TcpListener::bind(address) else {
        return Ok(());
    };
    let cannot = Error::failed(match error.kind() {
        ErrorKind::AddrInUse => {
            let owner = owner(address.port()).map(|owner| format!(" by {owner}")).unwrap_or_default();
            format!("{address} is taken{owner}")
        }
        _ => format!("{address}: cannot listen there: {error}"),
    });
    let port = address.port();
    Err(match error.kind() {
        ErrorKind::AddrInUse => cannot.hint(format!("--{listener} {}:0 takes a free port", address.ip())),
        ErrorKind::PermissionDenied if port < 1024 => cannot.hint("ports below 1024 are for root"),
        ErrorKind::AddrNotAvailable => cannot.hint("the address must be one of this machine"),
        _ => cannot,
    })
}

/// The process that listens on a port, as `name (pid N)`, where Linux tells us: the socket's inode is in
/// /proc/net/tcp, and a process of ours has it among its open files.
fn owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|file| {
        let table = fs::read_to_string(file).ok()?;
        table.lines().skip(1).find_map(|line| listening_inode(line, port).map(str::to_owned))
    })?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok()).find_map(|pid| {
        let mut open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        open.any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == socket.as_str())).then(
            || {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                format!("{} (pid {pid})", name.trim())
            },
        )
    })
}

/// The inode in a line of /proc/net/tcp (proc(5)) if it is a listening socket on this port.
fn listening_inode(line: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let here = local.rsplit_once(':').and_then(|(_, hex)| u16::from_str_radix(hex, 16).ok());
    (here == Some(port) && state == LISTEN).then_some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_is_told_with_who_has_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = check(address, "grpc").unwrap_err().to_string();
        assert!(error.contains(&format!("{address} is taken")), "{error}");
        if cfg!(target_os = "linux") {
            assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        }
        check("127.0.0.1:0".parse().unwrap(), "grpc").unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let error = check("192.0.2.1:0".parse().unwrap(), "http").unwrap_err().to_string();
        assert!(error.contains("192.0.2.1:0: cannot listen there"), "{error}");
    }
}
