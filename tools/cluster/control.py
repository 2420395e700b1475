"""Commands to a running supervisor over a unix socket: `stop NAME`, `start NAME`, `restart NAME` of a component.

One command a connection, ended by closing the sending side; the answer is "ok" or what is wrong.
"""

from __future__ import annotations

import socket
from pathlib import Path

from tools.cluster.components import Component, Components

SECONDS = 10
VERBS = {
    "stop": (Component.stop,),
    "start": (Component.start,),
    "restart": (Component.stop, Component.start),
}
OK = "ok"


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def send(path: Path, command: str) -> str:
    """The supervisor's answer to `command`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(str(path))
        connection.sendall(command.encode())
        connection.shutdown(socket.SHUT_WR)
        return receive(connection)


def receive(connection: socket.socket) -> str:
    """All that is sent until the other side closes."""
    connection.settimeout(SECONDS)
    with connection.makefile("rb") as stream:
        return stream.read().decode()


def answer(components: Components, connection: socket.socket) -> None:
    """Do what one client asks."""
    verb, _, name = receive(connection).partition(" ")
    connection.sendall(obey(components, verb, name).encode())


def obey(components: Components, verb: str, name: str) -> str:
    if verb not in VERBS:
        return f"there is no command {verb}; there are {', '.join(VERBS)}"
    component = components.by_name.get(name)
    if component is None:
        return f"there is no component {name}; there are {', '.join(components.by_name)}"
    if verb == "start" and component.process is not None:
        return f"{name} runs already"
    for act in VERBS[verb]:
        act(component)
    return OK
