#!/usr/bin/env bash
# Abstract socket names in Node, and who can connect to them.
#
# Software: Node 20.18.1, 22.11.0 and 24.4.0 (npm package `node`), Python 3 on Linux.
# Setup:    a Node server listens at "\0NAME", the form of Linux for a name without a file. A Node client of the same
#           version connects to that string, and so does a Python client.
# Guess:    Node either refuses the string, as a path with a NUL byte, or binds the name as given, as Python does.
# Seen:     each version accepts it, and its own client connects. Node 20 binds the name with NUL bytes up to the full
#           108 bytes of the address, which are part of an abstract name: Python gets ECONNREFUSED, and connects only with
#           the same bytes added. Node 22 and 24 bind the name as given.
#           The same servers at a longer path than an address has room for: Node 20 and 22 listen at its first 108 bytes, while
#           `address()` returns the whole path, and Node 24 fails with EINVAL.
# So:       a program that is to be reached by Node 20 must add the NUL bytes. One that finds a Node server by the path
#           it was given must know which Node that is, where the path is long.
set -euo pipefail
place=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$place"' EXIT
cd "$place"

cat >server.js <<'JS'
const fs = require('node:fs'), net = require('node:net');
const serve = (path, then) => {
  const server = net.createServer(client => client.end());
  server.on('error', error => then(server, error.code)).listen(path, () => then(server, 'listening'));
};
const long = process.cwd() + '/files/' + 'x'.repeat(200);
serve(long, (server, outcome) => {
  const file = fs.readdirSync('files')[0];
  const kept = server.listening && `${server.address() === long ? 'the whole path' : 'another'} in address()`;
  console.log(`long path: ${outcome}${file ? `, the first ${(process.cwd() + '/files/' + file).length} bytes, ${kept}` : ''}`);
  server.close();
  serve('\0' + process.argv[2], () => {
    net.connect('\0' + process.argv[2]).on('error', error => console.log(`Node: ${error.code}`))
      .on('connect', () => console.log('Node: connected')).on('close', () => console.log('ready')).resume();
  });
});
JS
cat >client.py <<'PY'
import socket, sys
name = b"\0" + sys.argv[1].encode()
for how, address in (("as given", name), ("with NUL bytes up to 108", name.ljust(108, b"\0"))):
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(address)
        print(f"Python, {how}: connected")
    except ConnectionRefusedError:
        print(f"Python, {how}: ECONNREFUSED")
PY

for version in 20.18.1 22.11.0 24.4.0; do
    mkdir -p "$version/files"
    npm install --silent --no-audit --no-fund --prefix "$version" "node@$version" >/dev/null 2>&1 ||
        { echo "Node $version can't be downloaded"; exit 77; }
    name=abstract-$$-$version
    echo "Node $version"
    mkfifo "$version/lines"
    (cd "$version" && exec ./node_modules/.bin/node ../server.js "$name") >"$version/lines" &
    while read -r line && [[ $line != ready ]]; do echo "$line"; done <"$version/lines"
    python3 client.py "$name"
    kill %% && wait %% 2>/dev/null || true
done >seen

cat seen
diff - seen <<'END'
Node 20.18.1
long path: listening, the first 108 bytes, the whole path in address()
Node: connected
Python, as given: ECONNREFUSED
Python, with NUL bytes up to 108: connected
Node 22.11.0
long path: listening, the first 108 bytes, the whole path in address()
Node: connected
Python, as given: connected
Python, with NUL bytes up to 108: ECONNREFUSED
Node 24.4.0
long path: EINVAL
Node: connected
Python, as given: connected
Python, with NUL bytes up to 108: ECONNREFUSED
END
