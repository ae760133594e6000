"""A py-libp2p node to run beside Weir: what the Rust one beside it (`src/bin/rust-peer`) does, with the same arguments.

    main.py listen STACK [large]   prints its address, and answers until its input ends
    main.py ping STACK ADDRESS     three round trips
    main.py identify STACK ADDRESS what the other end says of itself
    main.py perf STACK ADDRESS     16 MiB each way over /perf/1.0.0
    main.py echo|streams|reset|idle|hold|push|large STACK ADDRESS [COUNT]   as Weir's example (crates/cli/examples/interop.rs)

STACK is noise, tls, or both (which prefers TLS), over TCP with yamux; mplex, which is Noise and mplex; pnet, a private network with
Noise. Where another peer is there than the address names, it prints `another peer` and ends with 3.
"""

import functools
import sys
from array import array

import multiaddr
import trio
from libp2p import create_mplex_muxer_option, create_yamux_muxer_option, generate_new_ed25519_identity, new_host
from libp2p.host.ping import PingService, handle_ping
from libp2p.identity.identify.identify import ID, parse_identify_response
from libp2p.identity.identify_push.identify_push import ID_PUSH, identify_push_handler_for, push_identify_to_peer
from libp2p.network.stream.exceptions import StreamEOF, StreamError, StreamReset
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.security.tls.transport import PROTOCOL_ID as TLS
from libp2p.security.tls.transport import TLSTransport
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.utils import read_length_prefixed_protobuf

PING = "/ipfs/ping/1.0.0"
PERF = "/perf/1.0.0"
ECHO = "/interop/echo/1"
PATTERN = "/interop/pattern/1"
RESET = "/interop/reset/1"
IDENTIFY = "/interop/identify/1"
# What the other side pushes, and this one.
PUSHED_ADDRESS = "/ip4/127.0.0.1/tcp/7777"
PUSHED_NAME = "/interop/pushed/1"
# What long names begin with, how many there are, and the bytes of each.
LONG_NAME = "/interop/long/"
LONG_NAMES = 80
LONG_BYTES = 80
SIZE = 16 << 20
PIECE = bytes(64 * 1024)
# The first word of the pattern: "Weir".
SEED = 0x57656972
COUNT = 1000
AT_ONCE = 32
PAYLOAD = 1000
# The code that the listener shall reset with. py-libp2p itself has none.
CODE = 7
QUESTIONS = 100
PAUSE = 60
LIMIT = 60
LONG = 200
# The key of the private network.
KEY = "57" * 32


def start(stack, listen):
    identity = generate_new_ed25519_identity()
    noise = {NOISE: Noise(identity, noise_privkey=create_new_key_pair().private_key)}
    tls = {TLS: TLSTransport(identity)}
    securities = {"noise": noise, "tls": tls, "both": tls | noise, "mplex": noise, "pnet": noise}
    return new_host(
        key_pair=identity,
        sec_opt=securities[stack],
        muxer_opt=create_mplex_muxer_option() if stack == "mplex" else create_yamux_muxer_option(),
        psk=KEY if stack == "pnet" else None,
        listen_addrs=[multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")] if listen else None,
    )


async def drained(stream):
    """All that comes until the stream ends, and how it ends."""
    parts = []
    while True:
        try:
            part = await stream.read(len(PIECE))
        except StreamEOF:
            return b"".join(parts), "ended"
        except (StreamReset, StreamError):
            return b"".join(parts), "reset"
        if not part:
            return b"".join(parts), "ended"
        parts.append(part)


@functools.cache
def pattern():
    """What the large echo sends: words of four bytes, little-endian, each made of the one before."""
    words, word = array("I", bytes(SIZE)), SEED
    for at in range(len(words)):
        words[at] = word
        word = (word * 1664525 + 1013904223) & 0xFFFFFFFF
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()


async def compared(stream, then):
    """Reads the pattern to the end of the stream, and hands each part of it on."""
    at = 0
    while True:
        try:
            part = await stream.read(len(PIECE))
        except StreamEOF:
            break
        if not part:
            break
        if part != pattern()[at : at + len(part)]:
            raise RuntimeError(f"other bytes than were sent, after {at}")
        at += len(part)
        await then(part)
    if at != SIZE:
        raise RuntimeError(f"it ends after {at} of {SIZE} bytes")


async def exactly(stream, length):
    got = b""
    while len(got) < length:
        part = await stream.read(length - len(got))
        if not part:
            raise EOFError("it ends early")
        got += part
    return got


async def identified(host, peer):
    """What a peer says of itself now."""
    stream = await host.new_stream(peer, [ID])
    return parse_identify_response(await read_length_prefixed_protobuf(stream, use_varint_format=True))


async def long_names(host, peer):
    told = await identified(host, peer)
    return sum(name.startswith(LONG_NAME) for name in told.protocols)


def was_pushed(host, peer):
    return PUSHED_ADDRESS in [str(address) for address in host.get_peerstore().addrs(peer)]


async def push(host, peer):
    host.set_stream_handler(PUSHED_NAME, ignore)
    if not await push_identify_to_peer(host, peer):
        raise RuntimeError("it could not push")


async def ignore(stream):
    await stream.close()


def serve(host, large):
    seen = ["nothing"]

    async def tell(stream):
        what, peer = (await exactly(stream, 1))[0], stream.muxed_conn.peer_id
        if what == 0:
            await push(host, peer)
            text = "!"
        elif what == 1:
            text = "yes" if was_pushed(host, peer) else "no"
        else:
            text = str(await long_names(host, peer))
        await stream.write(text.encode())
        await stream.close()

    async def perf(stream):
        size = int.from_bytes(await exactly(stream, 8), "big")
        await drained(stream)
        while size > 0:
            await stream.write(PIECE[:size])
            size -= len(PIECE)
        await stream.close()

    async def echo(stream):
        sent, how = await drained(stream)
        if how == "ended":
            await stream.write(sent)
            await stream.close()

    async def give_back(stream):
        try:
            await compared(stream, stream.write)
            await stream.close()
        except Exception as error:
            print(repr(error), file=sys.stderr, flush=True)
            await stream.reset()

    async def reset(stream):
        what = (await exactly(stream, 5))[0]
        if what == 0:
            await stream.reset()
        elif what == 1:
            await stream.write(b"!")
            _, seen[0] = await drained(stream)
        else:
            await stream.write(seen[0].encode())
            await stream.close()

    host.set_stream_handler(PING, handle_ping)
    host.set_stream_handler(PERF, perf)
    host.set_stream_handler(ECHO, echo)
    host.set_stream_handler(PATTERN, give_back)
    host.set_stream_handler(RESET, reset)
    host.set_stream_handler(IDENTIFY, tell)
    host.set_stream_handler(ID_PUSH, identify_push_handler_for(host))
    for number in range(LONG_NAMES if large else 0):
        host.set_stream_handler(f"{LONG_NAME}{number:03}/".ljust(LONG_BYTES, "x"), ignore)


async def one(host, peer, number):
    stream = await host.new_stream(peer, [ECHO])
    sent = number.to_bytes(4, "big").ljust(PAYLOAD, b".")
    await stream.write(sent)
    await stream.close_write()
    got, how = await drained(stream)
    if (got, how) != (sent, "ended"):
        raise RuntimeError(f"stream {number}: {how}, {len(got)} bytes came back")


async def large_echo(host, peer):
    """Its last piece waits for the first bytes that come back: a listener that returns nothing before the end never gets it."""
    stream, came = await host.new_stream(peer, [PATTERN]), trio.Event()

    async def write():
        for at in range(0, SIZE, len(PIECE)):
            if at == SIZE - len(PIECE):
                await came.wait()
            await stream.write(pattern()[at : at + len(PIECE)])
        await stream.close_write()

    async def note(_):
        came.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await compared(stream, note)


async def many(host, peer, count):
    numbers = iter(range(count))

    async def work():
        for number in numbers:
            await one(host, peer, number)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(work)


async def measure(host, peer):
    stream = await host.new_stream(peer, [PERF])
    await stream.write(SIZE.to_bytes(8, "big"))
    for _ in range(SIZE // len(PIECE)):
        await stream.write(PIECE)
    await stream.close_write()
    got, how = await drained(stream)
    if (len(got), how) != (SIZE, "ended"):
        raise RuntimeError(f"{len(got)} bytes came, {SIZE} were asked for; {how}")


async def resets(host, peer):
    """Prints how the listener's reset looks from here, and this side's from there."""

    async def ask(what):
        stream = await host.new_stream(peer, [RESET])
        await stream.write(bytes([what]) + CODE.to_bytes(4, "big"))
        return stream

    _, by = await drained(await ask(0))
    stream = await ask(1)
    await exactly(stream, 1)
    await stream.reset()
    for _ in range(QUESTIONS):
        stream = await ask(2)
        await stream.close_write()
        text, _ = await drained(stream)
        if text != b"nothing":
            print(by, text.decode())
            return
        await trio.sleep(0.1)
    raise RuntimeError("the listener saw no reset")


async def asked_until(host, peer, what, wanted):
    """What the listener answers on /interop/identify/1, once it is as wanted."""
    for _ in range(QUESTIONS):
        stream = await host.new_stream(peer, [IDENTIFY])
        await stream.write(bytes([what]))
        await stream.close_write()
        text, _ = await drained(stream)
        if wanted(text.decode()):
            return text.decode()
        await trio.sleep(0.1)
    raise RuntimeError("the listener has not learned it")


async def both_push(host, peer):
    await asked_until(host, peer, 0, lambda text: text == "!")
    for _ in range(QUESTIONS):
        if was_pushed(host, peer):
            break
        await trio.sleep(0.1)
    else:
        raise RuntimeError("nothing was pushed")
    await push(host, peer)
    await asked_until(host, peer, 1, lambda text: text == "yes")


async def dial(what, host, address, count):
    there = info_from_p2p_addr(multiaddr.Multiaddr(address))
    await host.connect(there)
    peer = there.peer_id
    if what == "ping":
        print(await PingService(host).ping(peer, 3), "µs")
    elif what == "identify":
        told = await identified(host, peer)
        print(told.agent_version, list(told.protocols))
    elif what == "perf":
        await measure(host, peer)
    elif what == "echo":
        await large_echo(host, peer)
    elif what == "push":
        await both_push(host, peer)
    elif what == "large":
        names = await long_names(host, peer)
        print(names, await asked_until(host, peer, 2, lambda text: text != "0"))
    elif what == "streams":
        await many(host, peer, count)
    elif what == "reset":
        await resets(host, peer)
    elif what == "idle":
        await one(host, peer, 0)
        before = host.get_network().connections[peer]
        await trio.sleep(PAUSE)
        if host.get_network().connections.get(peer) != before:
            raise RuntimeError("the connection did not stay")
        await one(host, peer, 1)
    elif what == "hold":
        await one(host, peer, 0)
        print("holding", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
    else:
        raise ValueError(f"{what} is nothing that main.py does")


async def run(what, stack, address=None, count=COUNT):
    host = start(stack, what == "listen")
    serve(host, "large" in (what, address))
    listens = [multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")] if what == "listen" else []
    async with host.run(listen_addrs=listens):
        if what == "listen":
            print(f"listening at {host.get_addrs()[0]}", flush=True)
            await trio.to_thread.run_sync(sys.stdin.read)
            return
        with trio.fail_after(LONG if what in ("idle", "hold") else LIMIT):
            await dial(what, host, address, int(count))


def causes(error):
    """An error, and all that it came of: errors hold others in several ways."""
    while error is not None:
        yield error
        for held in (*getattr(error, "errors", ()), *error.args):
            for one in held if isinstance(held, (list, tuple)) else [held]:
                if isinstance(one, BaseException):
                    yield from causes(one)
        error = error.__cause__ or error.__context__


if __name__ == "__main__":
    try:
        trio.run(run, *sys.argv[1:])
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        all_of_it = " ".join(f"{type(one).__name__} {one}" for one in causes(error)).lower()
        if "mismatch" not in all_of_it:
            sys.exit(2)
        print("another peer")
        sys.exit(3)
