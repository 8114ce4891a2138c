"""MQTT on the device, with paho."""
