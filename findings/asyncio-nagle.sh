#!/usr/bin/env bash
# asyncio switches Nagle's algorithm off on the sockets that it makes itself, and leaves it on where it is given a listening socket.
set -euo pipefail
python3 - <<'PY'
import asyncio
import socket
import sys

print("Python", sys.version.split()[0], sys.platform)


async def is_off(**where):
    """Whether TCP_NODELAY is set on a connection that this server accepts."""
    accepted = asyncio.get_running_loop().create_future()

    def accept(_, writer):
        accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(accept, **where) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        result = bool(await accepted)
        writer.close()
        await writer.wait_closed()
        return result


def listening(proto):
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, proto)
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


async def main():
    found = {
        "host and port": await is_off(host="127.0.0.1", port=0),
        "sock=socket.create_server(…)": await is_off(sock=socket.create_server(("127.0.0.1", 0))),
        "sock=socket.socket(…), no protocol": await is_off(sock=listening(0)),
        "sock=socket.socket(…, IPPROTO_TCP)": await is_off(sock=listening(socket.IPPROTO_TCP)),
    }
    for name, result in found.items():
        print(f"start_server({name}): Nagle's algorithm is {'off' if result else 'ON'}")
    sys.exit(list(found.values()) != [True, False, False, True])


asyncio.run(main())
PY
