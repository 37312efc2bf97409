#!/usr/bin/env bash
# Programs that make a Unix socket for a command, and a file that is already at its path.
#
# Software: unixserver of ucspi-unix 1.0 and s6-ipcserver-socketbinder of s6 2.11.3.2 (Debian 12), on Linux.
# Setup:    each starts a server at a path where an ordinary file is, with umask 077. Then a second unixserver starts
#           while the first serves.
# Guess:    they refuse a path that is in use, or remove sockets of dead servers only, and the umask counts.
# Seen:     both replace the ordinary file by their socket without a word, and give it mode 0777 whatever the umask is.
#           The second unixserver takes the path of the first, which runs on and is not reached any more; when the
#           first ends it removes the socket of the second.
# So:       the path must be in a directory of its own, which says who may connect, and have one starter only.
set -euo pipefail
place=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$place"' EXIT
cd "$place"
packages=(ucspi-unix=1.0-2 s6=2.11.3.2-1 libskarnet2.13=2.13.1.1-1)
apt-get -qq download "${packages[@]}" 2>/dev/null || { echo "the packages can't be downloaded"; exit 77; }
for package in *.deb; do dpkg -x "$package" tools; done
LD_LIBRARY_PATH=$(dirname "$(find "$place/tools" -name 'libskarnet.so.2.13' -print -quit)")
export LD_LIBRARY_PATH PATH=$place/tools/usr/bin:$PATH
umask 077

# At most 10 s.
becomes_socket() { for _ in {1..200}; do [[ ! -S $1 ]] || return 0; sleep 0.05; done; echo "no socket at $1"; return 1; }
state() { if [[ -e $1 ]]; then stat -c '%F, mode %a' "$1"; else echo "nothing"; fi; }
ask() {
    python3 - "$1" <<'PY'
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.settimeout(10)
client.connect(sys.argv[1])
print(client.recv(100).decode().strip())
PY
}
echo "somebody's text" >unixserver.path
echo "somebody's text" >s6.path
unixserver -- unixserver.path echo "the first" & first=$!
s6-ipcserver-socketbinder s6.path sleep 30 &
becomes_socket unixserver.path
becomes_socket s6.path
{
    echo "unixserver: $(state unixserver.path)"
    echo "s6: $(state s6.path)"
    echo "before the second: $(ask unixserver.path)"
    unixserver -- unixserver.path echo "the second" >&2 &
    for _ in {1..200}; do [[ $(ask unixserver.path) != "the second" ]] || break; sleep 0.05; done
    echo "after it: $(ask unixserver.path)"
    kill "$first"
    while kill -0 "$first" 2>/dev/null; do sleep 0.05; done
    echo "when the first has ended: $(state unixserver.path)"
} >seen
cat seen
diff seen - <<'SEEN' && echo "unchanged"
unixserver: socket, mode 777
s6: socket, mode 777
before the second: the first
after it: the second
when the first has ended: nothing
SEEN
