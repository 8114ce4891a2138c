"""Versions as folders for MLflow, Hugging Face and OCI registries, such folders as models, and OpenSSF signatures."""
