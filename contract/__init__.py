"""The contract between the programs: the messages and files that one program gives to another, and nothing else.

Decides the format of every byte that crosses from one program to another. Refuses to know files, sockets, clocks and
random numbers.
"""
