"""Looks names up in CPython; one line for each argument KIND:NAME (see languages.rs)."""
import socket
import sys


def look_up(kind, name):
    if kind == "all":
        return sorted({entry[4][0] for entry in socket.getaddrinfo(name, 80)})
    if kind == "v4":
        _, _, addresses = socket.gethostbyname_ex(name)
        assert socket.gethostbyname(name) in addresses
        return sorted(addresses)
    host, _, addresses = socket.gethostbyaddr(name)
    assert addresses == [name]
    assert socket.getnameinfo((name, 0), socket.NI_NAMEREQD) == (host, "0")
    assert socket.getfqdn(name) == host
    return [host]


for argument in sys.argv[1:]:
    kind, _, name = argument.partition(":")
    try:
        print(argument, *look_up(kind, name))
    except OSError as error:
        print(argument, "!", error)
