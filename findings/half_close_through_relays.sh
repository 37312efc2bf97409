#!/usr/bin/env bash
# Relays and clients that end what they send before they read the answer.
#
# Software: ncat 7.93 and systemd-socket-proxyd 252 (Debian 12), with socat 1.7.4.4 beside them, on Linux.
# Setup:    a client of a Unix socket sends a question, ends its sending direction by shutdown(SHUT_WR), and reads. The
#           server answers when it has seen the end, as sort, wc and jq do.
# Guess:    a relay passes the end of one direction on, and the other direction stays. So the client gets the
#           answer, as it does without a relay.
# Seen:     through socat it does. systemd-socket-proxyd takes the end of the client's direction for the end of the
#           connection once all is written to the server: the server's answer fails with EPIPE, and the client reads
#           the end of the stream. `ncat -l --exec` ends likewise, without the output of the command. Neither
#           reports an error, and the client sees a clean end.
# So:       behind such a relay a client must not end its direction before it has read all that it wants.
set -euo pipefail
place=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$place"' EXIT
cd "$place"
packages=(ncat=7.93+dfsg1-1 liblua5.3-0=5.3.6-2 libpcap0.8=1.10.3-1 socat=1.7.4.4-2 libwrap0=7.6.q-32 systemd=252.39-1~deb12u2)
apt-get -qq download "${packages[@]}" 2>/dev/null || { echo "the packages can't be downloaded"; exit 77; }
for package in *.deb; do dpkg -x "$package" tools; done
export LD_LIBRARY_PATH=$place/tools/usr/lib/x86_64-linux-gnu:$place/tools/lib/x86_64-linux-gnu:$place/tools/lib/systemd

cat >server.py <<'PY'
import socket
server = socket.socket(socket.AF_UNIX)
server.bind("direct")
server.listen()
while True:
    client, _ = server.accept()
    question = b""
    while part := client.recv(100):
        question += part
    try:
        client.sendall(b"answer to " + question)
    except BrokenPipeError:
        pass
    client.close()
PY
cat >client.py <<'PY'
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(b"question\n")
client.shutdown(socket.SHUT_WR)
client.settimeout(10)
answer = b""
while part := client.recv(100):
    answer += part
print(f"{sys.argv[1]}: {answer.decode().strip() or 'nothing, and a clean end'}")
PY
# Gives a program a listening socket, as systemd does.
cat >listen.py <<'PY'
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
PY
python3 server.py &
python3 listen.py proxyd "$place/tools/lib/systemd/systemd-socket-proxyd" "$place/direct" &
tools/usr/bin/socat UNIX-LISTEN:socat-relay,fork UNIX-CONNECT:direct &
tools/usr/bin/ncat -lkU ncat-exec --exec /usr/bin/sort 2>/dev/null &
tools/usr/bin/socat UNIX-LISTEN:socat-exec,fork EXEC:/usr/bin/sort &
for socket in direct proxyd socat-relay ncat-exec socat-exec; do
    for _ in {1..200}; do [[ -S $socket ]] && break; sleep 0.05; done
done
for socket in direct socat-relay proxyd socat-exec ncat-exec; do python3 client.py "$socket"; done | tee seen
diff seen - <<'SEEN' && echo "unchanged"
direct: answer to question
socat-relay: answer to question
proxyd: nothing, and a clean end
socat-exec: question
ncat-exec: nothing, and a clean end
SEEN
