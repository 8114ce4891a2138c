"""The sources of samples and the sinks of predictions: files, ports, topics, images."""
