#!/usr/bin/env bash
# An SMB2 ECHO of smbprotocol, answered by impacket's server.
#
# Software: smbprotocol 1.17.0 (Connection.echo), impacket 0.13.0 (SimpleSMBServer), loopback only.
# Setup:    one signed-in session; the program sends an echo to keep the connection alive, with the defaults.
# Guess:    the echo is answered, or fails alone.
# Seen:     echo() uses session number 0. The server signs its answer and repeats that number. The client
#           finds no session 0 to verify it with, and this ends its receiving thread: the echo raises, and so
#           does every later call of the session, which itself was in order. echo(sid=session.session_id) works.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" -q install impacket==0.13.0 smbprotocol==1.17.0 || { echo "the packages can't be installed"; exit 77; }

cat >"$place/trial.py" <<'PY'
import os, socket, sys, threading, time, uuid
from impacket.ntlm import compute_lmhash, compute_nthash
from impacket.smbserver import SimpleSMBServer
from smbprotocol.connection import Connection
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
server = SimpleSMBServer("127.0.0.1", port)
server.setSMB2Support(True)
server.setLogFile(sys.argv[1])
server.addCredential("eve", 0, compute_lmhash("secret").hex(), compute_nthash("secret").hex())
threading.Thread(target=server.start, daemon=True).start()
time.sleep(0.5)

def trial(what, number):
    connection = Connection(uuid.uuid4(), "127.0.0.1", port)
    connection.connect()
    session = Session(connection, "eve", "secret", require_encryption=False)
    session.connect()
    def outcome(call):
        try:
            call()
            return "works"
        except Exception as error:
            return str(error).replace(str(session.session_id), "N")
    echo = outcome(lambda: connection.echo(sid=number(session), timeout=5))
    tree = outcome(lambda: TreeConnect(session, r"\\127.0.0.1\IPC$").connect(require_secure_negotiate=False))
    print(f"{what}: the echo: {echo}; the session afterwards: {tree}")

trial("session number of its own", lambda session: session.session_id)
trial("default", lambda session: 0)
sys.stdout.flush()
os._exit(0)
PY
timeout 60 "$place/venv/bin/python" "$place/trial.py" "$place/log" 2>/dev/null | tee "$place/seen"
diff "$place/seen" - <<'END' && echo "unchanged"
session number of its own: the echo: works; the session afterwards: works
default: the echo: Failed to find session 0 for message verification; the session afterwards: Failed to find session 0 for message verification
END
