"""Its import leaves a socket open."""

import socket

connection = socket.socketpair()


def talk(text: str) -> str:
    connection[0].sendall(text.encode())
    return connection[1].recv(100).decode()
