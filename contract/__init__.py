"""What the programs agree on: words on the wire, and nothing else.

Decides the shape of every byte that crosses from one program to another.
Refuses to know about files, sockets, clocks or random numbers.
"""
