#!/usr/bin/env bash
# asyncio's write pipe over a Unix socket: the peer may not send.
#
# Software: CPython 3.11's asyncio (the interpreter that runs this) and uvloop 0.22.1, on Linux.
# Setup:    loop.connect_write_pipe() accepts one end of a socketpair, as for a child's stdin that is a socket.
# Guess:    bytes that the peer sends stay unread in the socket, since a write pipe never reads.
# Seen:     asyncio ends the transport at the first byte of the peer. It calls connection_lost(None), so the end
#           looks regular, and later writes vanish without an exception; the peer sees ECONNRESET.
#           uvloop keeps the transport and calls data_received() of the write pipe's protocol. It ends the
#           transport if the peer shuts down its sending direction, although it can still be written to.
# So:       give a write pipe the write end of a pipe, or use create_unix_connection() for a duplex socket.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" -q install uvloop==0.22.1 || { echo "uvloop 0.22.1 can't be installed"; exit 77; }

cat >"$place/trial.py" <<'PY'
import asyncio, socket, uvloop

class Log(asyncio.BaseProtocol):
    def __init__(self): self.calls = []
    def connection_lost(self, error): self.calls.append(f"connection_lost({error!r})")
    def data_received(self, data): self.calls.append(f"data_received({data!r})")
    def eof_received(self): self.calls.append("eof_received()")

async def trial(who, what, action):
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, log = await loop.connect_write_pipe(Log, ours)
    action(theirs)
    await asyncio.sleep(0.3)
    print(f"{who}: {what}: {' '.join(log.calls) or 'nothing'}; closing: {transport.is_closing()}")
    if not transport.is_closing():
        transport.abort()
    await asyncio.sleep(0.1)
    theirs.close()

async def trials(who):
    await trial(who, "the peer sends", lambda peer: peer.send(b"x"))
    await trial(who, "the peer shuts down sending", lambda peer: peer.shutdown(socket.SHUT_WR))

asyncio.run(trials("asyncio"))
uvloop.run(trials("uvloop"))
PY
timeout 60 "$place/venv/bin/python" "$place/trial.py" | tee "$place/seen"
diff "$place/seen" - <<'END' && echo "unchanged"
asyncio: the peer sends: connection_lost(None); closing: True
asyncio: the peer shuts down sending: connection_lost(None); closing: True
uvloop: the peer sends: data_received(b'x'); closing: False
uvloop: the peer shuts down sending: eof_received() connection_lost(None); closing: True
END
