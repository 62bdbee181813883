//! Small messages to Postgres must not wait for each other.
//!
//! sqlx 0.9 leaves Nagle's algorithm on and shows neither its socket nor a setting for it. A COPY ends with five bytes of
//! their own, which then wait until the server acknowledges what came before them: 40 ms for each table that a
//! transaction copies into.

use std::os::fd::RawFd;

use filedescriptor::FileDescriptor;
use socket2::SockRef;

/// Sets `TCP_NODELAY` on the open connections of this process to a port. What is no such connection stays as it is; where
/// there is no list of open files nothing happens but that writing is slower.
pub fn send_at_once(port: u16) {
    let Ok(open_files) = std::fs::read_dir("/dev/fd") else {
        return;
    };
    for file in open_files.flatten() {
        let name = file.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<RawFd>().ok()) else {
            continue;
        };
        // A copy of our own keeps the number from meaning another file meanwhile.
        let Ok(copy) = FileDescriptor::dup(&number) else {
            continue;
        };
        let socket = SockRef::from(&copy);
        let peer = socket.peer_addr().ok().and_then(|peer| peer.as_socket());
        if peer.is_some_and(|peer| peer.port() == port) {
            let _ = socket.set_tcp_nodelay(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn only_connections_to_the_port_are_changed() {
        let (postgres, other) = (listener(), listener());
        let [ours, strange] = [&postgres, &other].map(|listener| {
            let address = listener.local_addr().unwrap();
            TcpStream::connect(address).unwrap()
        });
        send_at_once(postgres.local_addr().unwrap().port());
        assert!(ours.nodelay().unwrap());
        assert!(!strange.nodelay().unwrap());
    }

    fn listener() -> TcpListener {
        TcpListener::bind(("127.0.0.1", 0)).unwrap()
    }
}
