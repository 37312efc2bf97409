#!/usr/bin/env bash
# Named pipes of impacket's SMB server, read by a client of another library.
#
# Software: impacket 0.13.0 (SimpleSMBServer.registerNamedPipe), smbprotocol 1.17.0, SMB 2.0.2, loopback only.
# Setup:    the server relays the pipe "hello" to a TCP port; the client opens it through IPC$.
# Guess:    the end of the pipe is STATUS_PIPE_BROKEN, as from Windows; names have no case; requests of one
#           connection are independent, so a read that waits holds up only itself.
# Seen:     after the program behind the pipe has closed it, each read succeeds at once with no bytes. A client that
#           takes this for an empty message and reads again never ends. The first write after the close counts as
#           written, and the second is STATUS_ACCESS_DENIED. The name "HELLO" is STATUS_NO_SUCH_FILE.
#           While a read waits, the server answers no other request of that connection: a second open of the
#           pipe waits for as long as the read does. A client that keeps a read pending can never write.
# So:       a client of this server writes first and reads only what must come.
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
from smbprotocol.open import (CreateDisposition, FilePipePrinterAccessMask, ImpersonationLevel, Open, ShareAccess)
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

program = socket.create_server(("127.0.0.1", 0))
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
server = SimpleSMBServer("127.0.0.1", port)
server.setSMB2Support(True)
server.setLogFile(sys.argv[1])
server.registerNamedPipe("hello", program.getsockname())
server.addCredential("eve", 0, compute_lmhash("secret").hex(), compute_nthash("secret").hex())
threading.Thread(target=server.start, daemon=True).start()
time.sleep(0.5)

connection = Connection(uuid.uuid4(), "127.0.0.1", port)
connection.connect()
session = Session(connection, "eve", "secret", require_encryption=False)
session.connect()
tree = TreeConnect(session, r"\\127.0.0.1\IPC$")
tree.connect(require_secure_negotiate=False)

def open_pipe(name):
    pipe = Open(tree, name)
    access = FilePipePrinterAccessMask.GENERIC_READ | FilePipePrinterAccessMask.GENERIC_WRITE
    pipe.create(ImpersonationLevel.Impersonation, access, 0, ShareAccess.FILE_SHARE_READ, CreateDisposition.FILE_OPEN, 0)
    return pipe

def outcome(call):
    try:
        return repr(call())
    except Exception as error:
        return f"{error.status:#x}" if hasattr(error, "status") else type(error).__name__

pipe = open_pipe("hello")
behind, _ = program.accept()
reading = threading.Thread(target=lambda: print("the waiting read:", pipe.read(0, 10)))
begun = time.monotonic()
reading.start()
time.sleep(0.3)
def second():
    open_pipe("hello")
    print("the second open waited for the read:", time.monotonic() - begun > 1.9)
opening = threading.Thread(target=second)
opening.start()
time.sleep(1.7)
behind.send(b"abc")
reading.join()
opening.join()
behind.close()
time.sleep(0.2)
print("reads after the end:", *(outcome(lambda: pipe.read(0, 10)) for _ in range(3)))
print("writes after the end:", outcome(lambda: pipe.write(b"x")), end=" ")
time.sleep(0.2)
print(outcome(lambda: pipe.write(b"x")))
print("in capitals:", outcome(lambda: open_pipe("HELLO")))
sys.stdout.flush()
os._exit(0)
PY
timeout 60 "$place/venv/bin/python" "$place/trial.py" "$place/log" 2>/dev/null | tee "$place/seen"
diff "$place/seen" - <<'END' && echo "unchanged"
the waiting read: b'abc'
the second open waited for the read: True
reads after the end: b'' b'' b''
writes after the end: 1 0xc0000022
in capitals: 0xc000000f
END
