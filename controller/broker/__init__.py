"""The MQTT edge: the broker process, mutual TLS, the link, and what is retained."""
