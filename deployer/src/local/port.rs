//! Check that a listener address is free.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use crate::error::Error;

/// Returns an error if another process listens on the address. Envoy itself would not notice: it binds with
/// `SO_REUSEPORT`, so two Envoys of the same user can bind the same port, and the kernel would spread clients over
/// both.
pub(super) fn check(address: SocketAddr, listener: &str) -> Result<(), Error> {
    let Err(error) = TcpListener::bind(address) else {
        return Ok(());
    };
    let failed = Error::failed(match error.kind() {
        ErrorKind::AddrInUse => {
            let owner = owner(address.port()).map(|owner| format!(" by {owner}")).unwrap_or_default();
            format!("{address} is already in use{owner}")
        }
        _ => format!("cannot listen on {address}: {error}"),
    });
    let port = address.port();
    Err(match error.kind() {
        ErrorKind::AddrInUse => failed.hint(format!("`--{listener} {}:0` chooses a free port", address.ip())),
        ErrorKind::PermissionDenied if port < 1024 => {
            failed.hint("ports below 1024 need root or CAP_NET_BIND_SERVICE")
        }
        ErrorKind::AddrNotAvailable => failed.hint("use an address of this machine"),
        _ => failed,
    })
}

/// The process that listens on a port, as `name (pid N)`. On Linux only, and only for processes whose open files this
/// user may list: the socket's inode is in /proc/net/tcp, and /proc/PID/fd links to it.
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

/// The inode of a line of /proc/net/tcp (proc(5)) if the line is a listening socket on this port.
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
    fn an_address_in_use_is_reported_with_its_process() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = check(address, "grpc").unwrap_err().to_string();
        assert!(error.contains(&format!("{address} is already in use")), "{error}");
        if cfg!(target_os = "linux") {
            assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        }
        check("127.0.0.1:0".parse().unwrap(), "grpc").unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_an_error() {
        let error = check("192.0.2.1:0".parse().unwrap(), "http").unwrap_err().to_string();
        assert!(error.contains("cannot listen on 192.0.2.1:0"), "{error}");
    }
}
