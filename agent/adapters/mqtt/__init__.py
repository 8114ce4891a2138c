"""MQTT on the device, by paho."""
