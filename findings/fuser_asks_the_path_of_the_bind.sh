#!/usr/bin/env bash
# fuser and the sockets that an operator asks it about.
#
# Software: psmisc 23.6-1 (Debian 12), on Linux.
# Setup:    two programs bind one path in turn, as a restarted server does that unlinks what it finds. Then the
#           socket gets another name by rename(), as a server does that publishes a socket when it is ready.
# Guess:    fuser knows a socket by its inode. It names the one program that clients of the path reach, also after
#           a rename, as it does for files.
# Seen:     /proc/net/unix has the path of the bind and not the inode in the file system. fuser looks up what is
#           at that path now. So it names both programs, although the first is out of reach for good; and for
#           the new name it names nobody and exits with 1, although a server listens there.
# So:       an empty answer of fuser does not prove that a socket can be removed. Connecting does.
set -euo pipefail
place=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$place"' EXIT
cd "$place"
apt-get -qq download psmisc=23.6-1 2>/dev/null || { echo "psmisc 23.6-1 can't be downloaded"; exit 77; }
dpkg -x psmisc_*.deb tools

cat >server.py <<'PY'
import os, socket, sys, time
path = sys.argv[1]
if os.path.exists(path):
    os.unlink(path)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
open(sys.argv[2], "w").close()
time.sleep(30)
PY
start() {
    python3 server.py "$place/socket" "$place/ready-$1" &
    until [[ -e ready-$1 ]]; do sleep 0.05; done
}
name() {
    local found status=0
    found=$(tools/bin/fuser "$1" 2>/dev/null) || status=$?
    found=" $found "
    found=${found// $first / first }
    found=${found// $second / second }
    echo "$2:" $found "(exit code $status)"
}
start 1; first=$!
start 2; second=$!
{
    name "$place/socket" "by the path of the bind"
    mv socket published
    name "$place/published" "by the new name"
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("published"); print("a client connects by the new name")'
} | tee seen
diff seen - <<'END' && echo "unchanged"
by the path of the bind: first second (exit code 0)
by the new name: (exit code 1)
a client connects by the new name
END
