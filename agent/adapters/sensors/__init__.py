"""Where samples come from and where predictions go: files, ports, topics, images, sinks."""
