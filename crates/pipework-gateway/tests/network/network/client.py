"""An independent SMB client: impacket opens pipes of the gateway.

Usage: client.py PORT USER COMMAND [ARGUMENT...], with the password in the variable PASSWORD

Prints one line for each step, and `error STATUS` with an NT status code if the server refused it. The payload is the
tests' pattern, so both ends can check it.
"""

import ntpath
import os
import sys
import time

from impacket.nmb import NetBIOSError
from impacket.smb3 import SMB3
from impacket.smb3structs import SMB2_READ, SMB2_WRITE, SMB2Read, SMB2Read_Response, SMB2Write, SMB2Write_Response
from impacket.smbconnection import SessionError, SMBConnection

# The size of a read; smbd's buffers have the same size.
BUFFER_LEN = 64 * 1024
# The timeout of a response, in seconds. The tests have their own.
TIMEOUT = 50


# impacket normalizes names, but smbd must get them unchanged. This character stands for a slash.
SLASH = "\x01"
ntpath.normpath = lambda name: name.replace(SLASH, "/")


def pattern(length):
    """The same bytes as `pattern` in network.rs."""
    period = bytes((index * 7 + (index >> 8) * 3) & 0xFF for index in range(65536))
    return (period * (length // len(period) + 1))[:length]


def connect(port, user, password):
    connection = SMBConnection("127.0.0.1", "127.0.0.1", sess_port=port, timeout=TIMEOUT)
    connection.login(user, password)
    return connection, connection.connectTree("IPC$")


def read_exactly(connection, tree, pipe, length):
    parts = []
    while length > 0:
        part = connection.readFile(tree, pipe, 0, min(length, BUFFER_LEN))
        if not part:
            break
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


# By this status smbd reports an empty message.
IO_DEVICE_ERROR = 0xC0000185


def read_to_the_end(connection, tree, pipe):
    parts = []
    try:
        while True:
            parts.append(connection.readFile(tree, pipe, 0, BUFFER_LEN))
    except SessionError as error:
        return parts, error.getErrorCode()


def check(what, got, expected):
    if got != expected:
        raise AssertionError(f"{what}: got {len(got)} bytes, expected {len(expected)}, or the bytes differ")


# ---- The commands.


def echo_bytes(connection, tree, name, *lengths):
    pipe = connection.openFile(tree, name)
    for length in map(int, lengths):
        data = pattern(length)
        # This client never reads while it writes, so each piece has to fit into the buffers of both directions.
        for start in range(0, length, BUFFER_LEN):
            piece = data[start : start + BUFFER_LEN]
            connection.writeFile(tree, pipe, piece)
            check("echo", read_exactly(connection, tree, pipe, len(piece)), piece)
        print("echo", length)
    connection.closeFile(tree, pipe)


def echo_messages(connection, tree, name, *lengths):
    pipe = connection.openFile(tree, name)
    for length in map(int, lengths):
        connection.writeFile(tree, pipe, pattern(length))
        # One read returns one message, even if the buffer is larger.
        check("message", connection.readFile(tree, pipe, 0, BUFFER_LEN), pattern(length))
        print("echo", length)
    # Two waiting messages are not merged.
    connection.writeFile(tree, pipe, pattern(3))
    connection.writeFile(tree, pipe, pattern(5))
    check("first", connection.readFile(tree, pipe, 0, BUFFER_LEN), pattern(3))
    check("second", connection.readFile(tree, pipe, 0, BUFFER_LEN), pattern(5))
    # A short read leaves the rest of its message.
    connection.writeFile(tree, pipe, pattern(100))
    check("part", connection.readFile(tree, pipe, 0, 40), pattern(100)[:40])
    check("rest", connection.readFile(tree, pipe, 0, BUFFER_LEN), pattern(100)[40:])
    connection.closeFile(tree, pipe)
    print("separate")


def transact(connection, tree, name, *lengths):
    pipe = connection.openFile(tree, name)
    for length in map(int, lengths):
        check("reply", connection.transactNamedPipe(tree, pipe, pattern(length)), pattern(length))
        print("transact", length)
    connection.closeFile(tree, pipe)


def write_message(connection, tree, name, length):
    """Writes one message of an invalid length, and a valid one."""
    pipe = connection.openFile(tree, name)
    try:
        raw_write(connection, tree, pipe, pattern(int(length)))
        print("written", length)
    except SessionError as error:
        print("refused %#x" % error.getErrorCode())
    connection.writeFile(tree, pipe, pattern(3))
    connection.closeFile(tree, pipe)


def many(connection, tree, name, count):
    """Opens many instances at once, each with its own data."""
    pipes = [connection.openFile(tree, name) for _ in range(int(count))]
    for index, pipe in enumerate(pipes):
        connection.writeFile(tree, pipe, b"instance %05d" % index)
    for index, pipe in reversed(list(enumerate(pipes))):
        check("instance", read_exactly(connection, tree, pipe, 14), b"instance %05d" % index)
    print("instances", len(pipes))
    for pipe in pipes:
        try:
            connection.closeFile(tree, pipe)
        except KeyError:
            # impacket keeps one entry for each name and removes it with the first close. The pipe is closed.
            pass


def give(connection, tree, name, length):
    """Writes everything and closes."""
    pipe = connection.openFile(tree, name)
    data = pattern(int(length))
    for start in range(0, len(data), BUFFER_LEN):
        connection.writeFile(tree, pipe, data[start : start + BUFFER_LEN])
    connection.closeFile(tree, pipe)
    print("gave", length)


def take(connection, tree, name, *_):
    """Reads until the pipe ends."""
    pipe = connection.openFile(tree, name)
    parts, status = read_to_the_end(connection, tree, pipe)
    data = b"".join(parts)
    check("bytes", data, pattern(len(data)))
    print("took %d, then %#x" % (len(data), status))
    connection.closeFile(tree, pipe)


def take_late(connection, tree, name, *_):
    """Opens, and reads only after a delay."""
    pipe = connection.openFile(tree, name)
    print("open", flush=True)
    time.sleep(2)
    parts, status = read_to_the_end(connection, tree, pipe)
    check("bytes", b"".join(parts), pattern(sum(map(len, parts))))
    print("took %d, then %#x" % (sum(map(len, parts)), status))


def take_messages(connection, tree, name, *_):
    pipe = connection.openFile(tree, name)
    parts, status = read_to_the_end(connection, tree, pipe)
    for part in parts:
        check("message", part, pattern(len(part)))
    print("took %s, then %#x" % (" ".join(str(len(part)) for part in parts), status))
    connection.closeFile(tree, pipe)


def ask_and_take(connection, tree, name, *_):
    """Writes one message, then reads until the pipe ends."""
    pipe = connection.openFile(tree, name)
    connection.writeFile(tree, pipe, b"go")
    took = []
    while True:
        parts, status = read_to_the_end(connection, tree, pipe)
        took += [str(len(part)) for part in parts]
        # Only this read has failed.
        if status != IO_DEVICE_ERROR:
            break
        took.append("%#x" % status)
    print("took %s, then %#x" % (" ".join(took), status))
    connection.closeFile(tree, pipe)


def both(connection, tree, name, length):
    """Reads and writes at the same time: a read is pending during each write."""
    length = int(length)
    smb = connection.getSMBServer()
    pipe = connection.openFile(tree, name)
    data, got = pattern(length), bytearray()
    sent = 0
    reading = begin_read(smb, tree, pipe)
    while sent < length or len(got) < length:
        if sent < length:
            writing = begin_write(smb, tree, pipe, data[sent : sent + BUFFER_LEN])
            answer = smb.recvSMB(writing)
            answer.isValidAnswer(0)
            sent += SMB2Write_Response(answer["Data"])["Count"]
        # Each write lets the server continue, so data for the pending read arrives.
        if len(got) < length:
            answer = smb.recvSMB(reading)
            answer.isValidAnswer(0)
            got += SMB2Read_Response(answer["Data"])["Buffer"]
            if len(got) < length:
                reading = begin_read(smb, tree, pipe)
    check("both", bytes(got), data)
    connection.closeFile(tree, pipe)
    print("both", length)


def begin_read(smb, tree, pipe):
    request = SMB2Read()
    request["Padding"] = 0x50
    request["FileID"] = pipe
    request["Length"] = BUFFER_LEN
    request["Offset"] = 0
    return begin(smb, tree, SMB2_READ, request)


def begin_write(smb, tree, pipe, data):
    request = SMB2Write()
    request["FileID"] = pipe
    request["Length"] = len(data)
    request["Offset"] = 0
    request["WriteChannelInfoOffset"] = 0
    request["Buffer"] = data
    return begin(smb, tree, SMB2_WRITE, request)


def begin(smb, tree, command, request):
    packet = smb.SMB_PACKET()
    packet["Command"] = command
    packet["TreeID"] = tree
    if isinstance(smb, SMB3) and smb.getDialect() != 0x202:
        packet["CreditCharge"] = 1
    packet["Data"] = request
    return smb.sendSMB(packet)


def raw_write(connection, tree, pipe, data):
    """Sends one request of any length."""
    smb = connection.getSMBServer()
    try:
        smb.recvSMB(begin_write(smb, tree, pipe, data)).isValidAnswer(0)
    except Exception as error:
        code = getattr(error, "get_error_code", None)
        if code is None:
            raise
        raise SessionError(code()) from error


def hold(connection, tree, name, *_):
    """Opens, and reads until the pipe ends."""
    pipe = connection.openFile(tree, name)
    print("open", flush=True)
    _, status = read_to_the_end(connection, tree, pipe)
    print("ended %#x" % status)


def write_and_hold(connection, tree, name, count):
    pipe = connection.openFile(tree, name)
    for length in range(1, int(count) + 1):
        connection.writeFile(tree, pipe, pattern(length))
    print("written", count, flush=True)
    read_to_the_end(connection, tree, pipe)


def opens(connection, tree, *names):
    """Tries to open each name."""
    for name in names:
        try:
            pipe = connection.openFile(tree, name.replace("/", SLASH))
            print("open", flush=True)
            connection.closeFile(tree, pipe)
        except SessionError as error:
            print("error %#x" % error.getErrorCode(), flush=True)


COMMANDS = {
    command.__name__: command
    for command in (
        echo_bytes, echo_messages, transact, write_message, many, give, take, take_late, take_messages, ask_and_take, both, hold,
        write_and_hold, opens,
    )
}


def main():
    port, user, command = sys.argv[1:4]
    try:
        connection, tree = connect(int(port), user, os.environ["PASSWORD"])
        print("connected %#x signed=%s" % (connection.getDialect(), connection.isSigningRequired()), flush=True)
        COMMANDS[command](connection, tree, *sys.argv[4:])
    except SessionError as error:
        print("error %#x" % error.getErrorCode())
    except (NetBIOSError, OSError) as error:
        print("lost", type(error).__name__, error)


main()
